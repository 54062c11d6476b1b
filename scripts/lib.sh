# shellcheck shell=bash
# Helpers that the scripts of this folder share: saying things, timing them, failing with a reason.
# Not a program: the scripts source it after `set -euo pipefail`. It changes nothing on the machine.

# shellcheck disable=SC2034  # for the scripts that source this file
repo_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# All output of the scripts themselves starts with the script's name, so that it stands out between
# the lines of compilers and tests.
say() { printf '%s: %s\n' "${script_name:?}" "$*"; }
warn() { printf '%s: %s\n' "${script_name:?}" "$*" >&2; }
die() {
    warn "$*"
    exit 1
}

# The header of a script is its help text: everything from line 2 to the first line that is not a comment.
print_header() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$1"; }

# Runs a long command with its output in a log; prints a sign of life now and then, and the end of the log
# when it fails.   run_logged LABEL LOG COMMAND...
run_logged() {
    local label=$1 log=$2 start=$SECONDS next=20 pid status=0
    shift 2
    "$@" >"$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        if ((SECONDS - start >= next)); then
            say "$label: $((SECONDS - start)) s so far"
            next=$((next + 20))
        fi
    done
    wait "$pid" || status=$?
    if ((status != 0)); then
        warn "$label failed (status $status); the end of $log:"
        tail -n 30 "$log" >&2
    fi
    return "$status"
}
