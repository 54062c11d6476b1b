#!/usr/bin/env bash
# Proof that stock Tailscale and Coder clients use our relay as if it were derper: every scenario here
# runs against both, with the same results expected.
#
#   scripts/interop/run.sh [derper|towline|all] [--quick] [--shards N]
#
#   derper, towline, all   which relay; all is the default, derper being the control
#   --quick                without what waits for long timeouts, and with fewer kills
#   --shards N             towline runs with N shards (also: TOWLINE_SHARDS=N)
#
# What runs for each relay:
#   conformance   Tailscale's client library and bytes by hand; again with Coder's fork, and over WebSockets
#   probe         derpprobe over two meshed relays, of one kind and of both
#   faults        killed and slow clients, no descriptors, no admission service, a mesh peer that vanishes
#   rust          the crate ts_derp
#   nodes         two tailscaled in network namespaces that only the relay connects
#
# Needs Go, cargo, root (for the namespaces), the peers of scripts/peers.sh relay, and target/release/towline
# (or TOWLINE=PATH). Whatever is missing fails the run. Logs: $INTEROP_LOGS, by default target/interop.
set -euo pipefail
script_name=interop
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/../lib.sh"

kinds=()
quick=
while (($# > 0)); do
    case $1 in
    derper | towline) kinds+=("$1") ;;
    all) kinds=(derper towline) ;;
    --quick) quick=1 ;;
    --shards) TOWLINE_SHARDS=${2:?--shards needs a number} && shift ;;
    -h | --help) print_header "$0" && exit 0 ;;
    *) die "unknown argument '$1'; see --help" ;;
    esac
    shift
done
((${#kinds[@]} > 0)) || kinds=(derper towline)
export TOWLINE_SHARDS=${TOWLINE_SHARDS:-} INTEROP_QUICK=$quick
logs=${INTEROP_LOGS:-$repo_dir/target/interop}
mkdir -p "$logs"
variant=${TOWLINE_SHARDS:+${TOWLINE_SHARDS}-shards}${TOWLINE_RELAY_IO:-} # keeps the logs of several runs apart
start=$SECONDS passed=0 failed=0

# The peers, and our own helpers, built once for all that follows.
prepare() {
    local peers=$repo_dir/scripts/peers.sh cache=${TOWLINE_PEERS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/towline/peers}
    command -v go >/dev/null || die "Go is missing (1.26 or newer must be on PATH)"
    command -v cargo >/dev/null || die "cargo is missing; the client ts_derp is built with it"
    DERPER=$("$peers" path derper)
    DERPPROBE=$("$peers" path derpprobe)
    TAILSCALED=$("$peers" path tailscaled)
    TAILSCALE=$("$peers" path tailscale)
    TOWLINE=$(realpath -m "${TOWLINE:-$repo_dir/target/release/towline}")
    if [[ " ${kinds[*]} " == *" towline "* && ! -x $TOWLINE ]]; then
        die "$TOWLINE is missing; build it with: cargo build --release -p towline"
    fi
    cd "$repo_dir/scripts/interop"
    run_logged "building the helpers" "$logs/build-go.log" go build -o "$logs/bin/" ./cmd/... || exit 1
    run_logged "building the client ts_derp" "$logs/build-rust.log" \
        cargo build --quiet --locked --manifest-path ts-derp/Cargo.toml --target-dir "$cache/ts-derp-peer" || exit 1
    CONTROL=$logs/bin/control TRANSFER=$logs/bin/transfer TS_DERP_PEER=$cache/ts-derp-peer/debug/ts-derp-peer
    export DERPER DERPPROBE TAILSCALED TAILSCALE TOWLINE CONTROL TRANSFER TS_DERP_PEER
}

# go_tests KIND LABEL ARGS... runs Go tests; prints one line for each, and everything when one fails.
go_tests() {
    local kind=$1 label=$2 log=$logs/$1${variant:+-$variant}-$2.log began=$SECONDS status=0 ok bad
    shift 2
    # Tests mostly wait, so many run at once whatever the number of cores.
    RELAY_UNDER_TEST=$kind go test -count=1 -v -timeout 240s -parallel 8 ${quick:+-short} "$@" >"$log" 2>&1 || status=$?
    grep -E '^--- (PASS|FAIL|SKIP)' "$log" | sed 's/^--- /    /' || true
    ok=$(grep -cE '^--- PASS' "$log" || true)
    bad=$(grep -cE '^--- FAIL' "$log" || true)
    ((status == 0 && ok > 0 || bad > 0)) || bad=1 # it did not build, timed out, or ran nothing
    passed=$((passed + ok)) failed=$((failed + bad))
    say "$kind $label: $ok passed, $bad failed, $((SECONDS - began)) s"
    if ((bad > 0)); then
        warn "the failures (all of it: $log):"
        grep -vE '^=== |^--- PASS|^    --- PASS' "$log" | tail -n 120 >&2
    fi
}

nodes() { # KIND
    local began=$SECONDS
    if timeout --kill-after=10 180 ./nodes.sh "$1"; then
        passed=$((passed + 1))
        say "$1 nodes: green, $((SECONDS - began)) s"
    else
        failed=$((failed + 1))
        warn "$1 nodes: failed"
    fi
}

prepare
say "${kinds[*]}${quick:+, quick}${TOWLINE_SHARDS:+, $TOWLINE_SHARDS shards}; logs in $logs"
for kind in "${kinds[@]}"; do
    go_tests "$kind" stock -p 4 ./conformance ./probe ./faults ./rust
    TS_DEBUG_DERP_WS_CLIENT=1 go_tests "$kind" websocket -tags ts_debug_websockets -run '^TestDerphttpOverWebSocket$' ./conformance
    # What the client library has no part in is left to the run with the newest one.
    go_tests "$kind" coder -modfile=coder.mod -tags coder ./conformance
    nodes "$kind"
done
say "$((SECONDS - start)) s in all"
echo "interop: $passed passed, $failed failed"
((failed == 0))
