#!/usr/bin/env bash
# Measures on this machine and prints tables. Takes minutes and both CPUs: run it on an idle machine.
#
#   scripts/bench.sh relay            derper and towline side by side: the table of the README
#   scripts/bench.sh relay --readme   the same, and puts the table into README.md
#   scripts/bench.sh drivers          towline on io_uring and on epoll
#   scripts/bench.sh wg               wireguard-go, gotatun, boringtun and towline wg side by side (root)
#   scripts/bench.sh wg --readme      the same, and puts the table into README.md
#   scripts/bench.sh micro            criterion benches of the hot pieces
#
# Further options (--rounds N, --seconds N, --quick, ...) go to benches/compare/relay.py or wg.py, whose --help tells
# them. All that was measured, the table and a picture are kept in benches/results/, or in target/bench/ when --quick.
set -euo pipefail
script_name=bench
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"
cd "$repo_dir"

what=${1-}
shift || true
case $what in
relay | drivers | wg | micro) ;;
-h | --help) print_header "$0"; exit ;;
*) print_header "$0" >&2; exit 2 ;;
esac

scripts/setup.sh build
if [[ $what == micro ]]; then
    exec cargo bench --locked --workspace --bench '*' "$@"
fi

command -v python3 >/dev/null || die "python3 is missing; run scripts/setup.sh"
command -v openssl >/dev/null || die "openssl is missing; run scripts/setup.sh"
cargo build --locked --release --package towline
results=benches/results
[[ " $* " != *" --quick "* ]] || results=target/bench
arguments=(--towline "$repo_dir/target/release/towline" --results "$results/$what")
program=relay
if [[ $what == wg ]]; then
    ((EUID == 0)) || die "wg makes network namespaces and so needs root"
    scripts/setup.sh
    scripts/peers.sh wireguard
    program=wg
elif [[ $what == relay ]]; then
    scripts/peers.sh derper
    arguments+=(--derper "$(scripts/peers.sh path derper)")
fi
for argument in "$@"; do
    case $argument in
    --readme) arguments+=(--readme README.md) ;;
    *) arguments+=("$argument") ;;
    esac
done
exec python3 "benches/compare/$program.py" "${arguments[@]}"
