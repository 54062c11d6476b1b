#!/usr/bin/env bash
# Installs the Debian packages that this repository needs and checks for the toolchains that it cannot
# install. Does nothing, and says nothing, when all is there already.
#
#   scripts/setup.sh build    what building the binary needs
#   scripts/setup.sh          that, and what the tests and benchmarks need
#
# Rust and Go are not taken from Debian 12, whose versions are too old: without them it says so and fails.
# Programs that we test against and that are not in Debian come with scripts/peers.sh.
set -euo pipefail
script_name=setup
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

# A C compiler and linker for Rust, and for the assembly and C of the TLS cryptography.
build_packages=(gcc libc6-dev make ca-certificates)

test_packages=(
    # One compilation of the TLS cryptography serves all profiles.
    ccache
    # The fuzzing runtime is C++; kernel programs are C compiled for the BPF target.
    g++ clang-19
    # The layering check and parts of the benchmarks.
    python3
    # Checks of the scripts and of the unit files.
    shellcheck systemd
    # Networks out of namespaces, with firewalls between them.
    iproute2 iputils-ping nftables procps tcpdump util-linux
    # Clients and servers that we test and measure against.
    coturn iperf3 wireguard-tools curl openssl
    # Reading JSON in scripts; module sources for Go.
    jq git
)

is_installed() { [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }
has_candidate() { apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [^(]'; }

as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 --option Dpkg::Use-Pty=0 "$@"
}

# What the packages' own scripts say matters only when something fails.
apt_install() { # PACKAGE...
    local log status=0
    log=$(mktemp)
    apt install --no-install-recommends --yes "$@" >"$log" 2>&1 || status=$?
    ((status == 0)) || cat "$log" >&2
    rm -f "$log"
    return "$status"
}

install_packages() { # PACKAGE...
    local package missing=() stale=false coturn_is_new=false
    command -v dpkg-query >/dev/null || die "this is not a Debian system: install by hand what stands in $0"
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    ((${#missing[@]} > 0)) || return 0
    ((EUID == 0)) || command -v sudo >/dev/null ||
        die "not root and no sudo; as root run: apt-get install ${missing[*]}"

    for package in "${missing[@]}"; do
        has_candidate "$package" || stale=true
        [[ $package != coturn ]] || coturn_is_new=true
    done
    say "installing ${missing[*]}"
    if $stale; then apt update; fi
    if ! apt_install "${missing[@]}"; then
        # Package lists can be older than the archive; once, and only if they were not just fetched.
        if $stale; then die "apt-get could not install ${missing[*]}"; fi
        say "trying again with fresh package lists"
        apt update
        apt_install "${missing[@]}" || die "apt-get could not install ${missing[*]}"
    fi
    # Its package starts a server on the STUN port, which nobody asked for.
    if $coturn_is_new; then
        as_root systemctl disable --quiet coturn || warn "could not disable the coturn service"
        [[ ! -d /run/systemd/system ]] || as_root systemctl stop coturn || warn "could not stop coturn"
    fi
}

# Fails unless `cargo` is at least the version that the workspace names.
check_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$repo_dir/Cargo.toml")
    command -v cargo >/dev/null ||
        die "Rust $wanted or newer is missing (cargo is not on PATH; Debian 12's own is too old). Install it with rustup."
    found=$(cargo --version | awk '{print $2}')
    [[ $(printf '%s\n' "$wanted" "$found" | sort --version-sort | head -n 1) == "$wanted" ]] ||
        die "Rust $found is too old: $wanted or newer is needed (rustup update stable)"
}

check_rust_tools() {
    cargo fmt --version >/dev/null 2>&1 || die "cargo fmt is missing (rustup component add rustfmt)"
    cargo clippy --version >/dev/null 2>&1 || die "cargo clippy is missing (rustup component add clippy)"
}

check_go() {
    command -v go >/dev/null ||
        die "Go is missing: the programs we test against need Go 1.26 or newer on PATH (Debian 12's golang is too old)"
}

case ${1-all} in
build)
    install_packages "${build_packages[@]}"
    check_rust
    ;;
all)
    install_packages "${build_packages[@]}" "${test_packages[@]}"
    check_rust
    check_rust_tools
    check_go
    ;;
-h | --help) print_header "$0" ;;
*) die "unknown argument '$1' (see --help)" ;;
esac
