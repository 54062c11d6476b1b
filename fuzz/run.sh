#!/usr/bin/env bash
# Builds the fuzz targets, runs their seeds, then looks for inputs that fail, for a bounded time. CI runs it so.
#
#   fuzz/run.sh                          every target, 6 s each
#   fuzz/run.sh --seconds 300 stun       this target for longer; 0: only what is known already
#   fuzz/run.sh --keep stun              adds to the seeds the best of what the last runs found and no seed reaches
#   fuzz/run.sh --lint                   clippy over targets and helpers, with the flags of the build
#   fuzz/run.sh --lock                   takes the versions of dependencies from the repository's Cargo.lock
#   fuzz/run.sh --list                   the targets and what they do
#
# As many targets run at once as there are processors. Inputs that reach something new are kept in the build folder,
# so that the next run begins with them; inputs that fail in fuzz/artifacts. A failure ends in the command that
# repeats it. When it is mended, its input becomes a seed: move it to fuzz/corpus/TARGET under a name that tells
# what it is. examples/seeds writes the other seeds that have names.
set -euo pipefail
script_name=fuzz
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/../scripts/lib.sh"
cd "$repo_dir/fuzz"

# What cargo-fuzz asks of the compiler, by names that stable has: each edge counted, known by its place, and the
# operands of comparisons shown to libFuzzer. Sanitizers need nightly, and find little in code without `unsafe`.
export RUSTFLAGS="-Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares"
# Naming the host keeps these flags from build scripts and macros.
host=$(rustc -vV | sed -n 's/^host: //p')
cargo_args=(--locked --release --target "$host")

target_dir=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)
bin_dir=$target_dir/$host/release
work_dir=$target_dir/found
# Of one run of --keep.
kept_max=20
row='%-17s %6s %10s %9s %15s %6s %9s  %s\n'

# What is fuzzed is made of what is shipped.
check_versions() {
    local others
    others=$(comm -13 <(versions ../Cargo.lock) <(versions Cargo.lock) | grep -vE '^(towline-fuzz|libfuzzer-sys|arbitrary) ') ||
        return 0
    die "other versions than in the repository's Cargo.lock: ${others//$'\n'/, }; see --lock"
}

versions() { # LOCK FILE
    awk -F '"' '/^name = / { name = $2 } /^version = "/ { print name, $2 }' "$1" | sort
}

lock() {
    cp ../Cargo.lock Cargo.lock
    cargo metadata --format-version 1 >/dev/null
    check_versions
}

targets() { basename --suffix=.rs --multiple targets/*.rs; }

# By the start of each target's header, up to what it checks.
list() {
    local target header
    for target in $(targets); do
        header=$(sed -n '/^#!/q;s,^//! ,,p' "targets/$target.rs" | paste -sd' ')
        printf '%-17s %s\n' "$target" "${header%%[:.] *}"
    done
}

# The last number after `NAME: ` or `NAME ` in a log of libFuzzer.
last() { grep -oP "\b$1:? +\K\d+" "$2" | tail -n 1; }

fuzz() { # TARGET
    local target=$1 log=$work_dir/$1.log result=ok edges counters before
    # Longer inputs are slower, and say little more. The timeout is for what never ends: it is measured by the clock on
    # the wall, and machines stall.
    local args=(-max_len=4096 -timeout=60 -rss_limit_mb=1024 -print_final_stats=1)
    # Zero would be no limit.
    if ((seconds > 0)); then args+=("-max_total_time=$seconds"); else args+=(-runs=0); fi
    [[ ! -e dictionaries/$target.dict ]] || args+=("-dict=dictionaries/$target.dict")
    mkdir -p "$work_dir/$target" artifacts
    before=$(find "$work_dir/$target" -type f | wc -l)
    "$bin_dir/$target" "${args[@]}" -artifact_prefix="artifacts/$target-" "$work_dir/$target" "corpus/$target" \
        >"$log" 2>&1 || result=FAILED
    # libFuzzer is content without coverage, and blind.
    counters=$(grep -oP '\(\K\d+(?= inline 8-bit counters)' "$log") || counters=0
    edges=$(last cov "$log") || edges=0
    if [[ $result == ok ]] && ((counters == 0 || edges < 20)); then result="NO COVERAGE"; fi
    # shellcheck disable=SC2059  # one format for head and rows
    printf "$row" "$target" "$(find "corpus/$target" -type f | wc -l)" \
        "$(last stat::number_of_executed_units "$log")" "$(last stat::average_exec_per_sec "$log")" \
        "$edges of $counters" "$(($(find "$work_dir/$target" -type f | wc -l) - before))" \
        "$(last stat::peak_rss_mb "$log") MiB" "$result"
    [[ $result == ok ]]
}

explain() { # TARGET
    local log=$work_dir/$1.log artifact
    artifact=$(grep -oP 'Test unit written to \K.*' "$log" | tail -n 1) || true
    warn "$1 failed; from $log:"
    grep -aE -m 1 -A 12 'panicked at|ERROR: libFuzzer|Is the code instrumented' "$log" >&2 || tail -n 20 "$log" >&2
    [[ -z $artifact ]] || warn "to repeat it: RUST_BACKTRACE=1 $bin_dir/$1 $PWD/$artifact"
}

fuzz_all() {
    local target running=0 failed=()
    check_versions
    cargo build "${cargo_args[@]}" --bins
    say "${#chosen[@]} targets, $seconds s each"
    # shellcheck disable=SC2059
    printf "$row" target seeds runs 'runs/s' 'edges reached' found memory ''
    for target in "${chosen[@]}"; do
        if ((running == $(nproc))); then
            wait -n || true
            running=$((running - 1))
        fi
        { fuzz "$target" || touch "$work_dir/$target.failed"; } &
        running=$((running + 1))
    done
    wait
    for target in "${chosen[@]}"; do
        if [[ -e $work_dir/$target.failed ]]; then
            failed+=("$target")
            explain "$target"
        fi
    done
    ((${#failed[@]} == 0)) || die "failed: ${failed[*]}"
}

keep() {
    local target marker=$work_dir/kept
    check_versions
    cargo build "${cargo_args[@]}" --bins
    for target in "${chosen[@]}"; do
        touch "$marker"
        # Without counters: by the edges that are reached, not by how often, or hundreds would be kept.
        "$bin_dir/$target" -set_cover_merge=1 -use_counters=0 -max_len=4096 "corpus/$target" "$work_dir/$target" \
            >"$work_dir/$target.log" 2>&1 || { explain "$target"; return 1; }
        # They are written in the order of what they add. The last ones add an edge each, for ever.
        find "corpus/$target" -type f -newer "$marker" -printf '%T@ %p\n' | sort -n | tail -n "+$((kept_max + 1))" |
            cut -d' ' -f2- | xargs --no-run-if-empty rm
        say "$target: $(find "corpus/$target" -type f | wc -l) seeds"
    done
}

seconds=6 action=fuzz_all chosen=()
while (($# > 0)); do
    case $1 in
    -h | --help) print_header "$0"; exit ;;
    --list) list; exit ;;
    --lint) exec cargo clippy "${cargo_args[@]}" --all-targets -- -D warnings ;;
    --lock) lock; exit ;;
    --keep) action=keep ;;
    --seconds)
        seconds=${2-}
        [[ $seconds =~ ^[0-9]+$ ]] || die "--seconds wants a number"
        shift
        ;;
    -*) die "unknown option '$1' (see --help)" ;;
    *)
        [[ -e targets/$1.rs ]] || die "no target is called '$1'; there are: $(targets | paste -sd' ')"
        chosen+=("$1")
        ;;
    esac
    shift
done
((${#chosen[@]} > 0)) || mapfile -t chosen < <(targets)
mkdir -p "$work_dir"
rm -f "$work_dir"/*.failed
"$action"
