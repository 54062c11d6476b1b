#!/usr/bin/env bash
# Installs what is missing and runs every check and test of the repository. This is what CI runs.
#
#   scripts/test.sh               all stages, in order
#   scripts/test.sh STAGE...      only these
#   scripts/test.sh --list        the stages and what they do
#
# A stage that fails does not keep the later ones from running; the last lines name each that failed.
# Nothing that is in the sources is skipped: what cannot run here (no Go, no root, a peer that does not build) fails and says why.
set -euo pipefail
script_name="test"
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"
cd "$repo_dir"
# Debian's names for compilers that go through the cache; without it they are not there, and nothing changes.
export PATH=/usr/lib/ccache:$PATH

# Packages whose tests start a relay. Those of towline-io try every driver by themselves. towline-wire is there for the
# features of its benchmarks' library: with them nothing is built that the stage `unit` did not build.
relay_packages=(--package towline-relay --package towline-load --package towline --package towline-wire)

# name | needs root | what it does
stages="
setup          | yes | Debian packages, toolchains and the programs that we test against
scripts        | no  | shellcheck over the shell scripts, and the unit files under docs/
fmt            | no  | the format of the Rust sources
layers         | no  | who may use whom, no IO in the protocol crates, unsafe only where it may be
clippy         | no  | all lints, all targets, warnings denied
doc            | no  | the documentation of the libraries builds without a warning
build          | no  | the release binary
unit           | yes | cargo test over the workspace, with the best io driver of this kernel; some tests make a network namespace
plain-uring    | no  | the tests that start a relay again, io_uring without its newer operations
epoll          | no  | the same on the epoll driver
fuzz           | no  | each fuzz target over its seeds, and a bounded time beyond; its lints
interop        | yes | Tailscale's clients, probe and daemon, and derper, against our relay
interop-shards | yes | the same with four shards
interop-epoll  | yes | the same on the epoll driver, without what waits for long timeouts
wg             | yes | wg, wg-quick and three other implementations of WireGuard against our interface
"

stage_setup() {
    scripts/setup.sh && scripts/peers.sh all
}

stage_scripts() {
    local shell_scripts
    mapfile -t shell_scripts < <(grep -rlE '^#!.*\b(ba)?sh\b' .ci scripts fuzz/run.sh; echo scripts/lib.sh)
    shellcheck --external-sources --severity=warning "${shell_scripts[@]}" && scripts/check-units.sh
}

stage_fmt() {
    cargo fmt --all --check -- -l && cargo fmt --manifest-path fuzz/Cargo.toml --check -- -l
}
stage_layers() { scripts/check_layers_test.py && scripts/check_layers.py; }
stage_clippy() {
    cargo clippy --locked --workspace --all-targets -- -D warnings &&
        cargo clippy --locked --workspace --features towline-tls/fuzzing -- -D warnings
}
stage_doc() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --lib --no-deps --document-private-items; }
stage_build() { cargo build --locked --release --package towline; }
stage_unit() { cargo test --locked --workspace; }
stage_fuzz() { fuzz/run.sh --lint && fuzz/run.sh; }

# Settings of the relay, as any operator could give them; the tests pass them on.
stage_plain-uring() { TOWLINE_RELAY_IO=uring TOWLINE_RELAY_IO_FEATURES=none test_relay; }
stage_epoll() { TOWLINE_RELAY_IO=epoll test_relay; }

# Without waiting for a certificate authority once more: which driver moves the bytes is nothing to it.
test_relay() { cargo test --locked "${relay_packages[@]}" -- --skip certs::acme::tests; }

stage_interop() { interop all; }
stage_interop-shards() { interop towline --shards 4; }
stage_interop-epoll() { TOWLINE_RELAY_IO=epoll interop towline --quick; }

stage_wg() {
    ((EUID == 0)) || die "wg makes network namespaces and so needs root"
    cargo build --locked --release --package towline && scripts/lab/wg_test.py
}

interop() {
    ((EUID == 0)) || die "interop makes network namespaces and so needs root"
    scripts/interop/run.sh "$@"
}

list() {
    local name root what
    while IFS='|' read -r name root what; do
        [[ $root == yes ]] && what="$what (needs root)"
        printf '%-14s %s\n' "$name" "$what"
    done < <(sed -n 's/ *| */|/gp' <<<"$stages")
}

passed=() failed=()

run_stage() { # NAME
    local start=$SECONDS
    printf '\n=== %s\n' "$1"
    # In a process of its own: `set -e` holds inside it, and it cannot change what later stages see.
    set +e
    (set -e; "stage_$1") </dev/null
    local status=$?
    set -e
    if ((status == 0)); then
        passed+=("$1")
        printf '=== %s: ok, %d s\n' "$1" $((SECONDS - start))
    else
        failed+=("$1")
        printf '=== %s: FAILED (status %d), %d s\n' "$1" "$status" $((SECONDS - start))
    fi
}

all_stages=$(sed -n 's/ *|.*//p' <<<"$stages")
case ${1-} in
-h | --help) print_header "$0"; exit ;;
--list) list; exit ;;
esac
chosen=("$@")
for name in "${chosen[@]}"; do
    grep -qx -- "$name" <<<"$all_stages" || die "no stage is called '$name'; there are: ${all_stages//$'\n'/ }"
done
((${#chosen[@]} > 0)) || mapfile -t chosen <<<"$all_stages"

for name in "${chosen[@]}"; do run_stage "$name"; done

printf '\n'
say "took $((SECONDS / 60)) min $((SECONDS % 60)) s"
((${#failed[@]} == 0)) || say "failed: ${failed[*]}"
# Stages, not single tests: each stage prints the counts of its own runner.
printf 'stages: %d passed, %d failed\n' "${#passed[@]}" "${#failed[@]}"
((${#failed[@]} == 0))
