#!/usr/bin/env bash
# Checks the systemd units under docs/systemd: that systemd reads them without a complaint, and that the
# service stays as confined as it is (`systemd-analyze security`, 0.0 is best, 10.0 unconfined).
set -euo pipefail
script_name=check-units
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

# In tenths, as --threshold wants it.
exposure_max=20

command -v systemd-analyze >/dev/null || die "systemd-analyze is missing (Debian package: systemd)"
units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT

# `verify` wants the program to be there; any program will do for that.
for unit in "$repo_dir"/docs/systemd/*.{service,socket}; do
    sed 's|/usr/local/bin/towline|/bin/true|' "$unit" >"$units/$(basename "$unit")"
done
cp -R "$repo_dir"/docs/systemd/*.service.d "$units"

status=0
complaints=$(SYSTEMD_UNIT_PATH="$units:" systemd-analyze verify "$units"/*.{service,socket} 2>&1) || status=$?
# It also reads the units of the host, and may complain of those: only what it says of ours counts. But when it fails
# without a word, it has checked nothing.
if grep -F towline- <<<"$complaints" >&2 || [[ $status -ne 0 && -z $complaints ]]; then
    die "systemd finds fault with the units"
fi

# What is added to a service where systemd opens its ports only takes from it: by itself it is the more exposed.
rm -r "$units"/*.service.d
for service in "$units"/*.service; do
    systemd-analyze security --offline=yes --threshold="$exposure_max" --no-pager "$service" >"$units/report" || {
        cat "$units/report" >&2
        die "$(basename "$service") is more exposed than $((exposure_max / 10)).$((exposure_max % 10)) of 10"
    }
    say "$(basename "$service"): $(tail -n 1 "$units/report" | grep -o 'Overall.*')"
done
