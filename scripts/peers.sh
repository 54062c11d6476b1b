#!/usr/bin/env bash
# Builds the programs that we test and measure against, each in the version pinned below, from the
# ordinary package registries. They live in a cache outside the clone, one folder per program and
# version, so that the next run, or a fresh clone, finds them already built.
#
#   scripts/peers.sh relay        derper, derpprobe, tailscaled, tailscale, pebble and its DNS test server
#   scripts/peers.sh wireguard    wireguard-go, boringtun-cli, gotatun-cli
#   scripts/peers.sh all          both
#   scripts/peers.sh NAME...      only these
#   scripts/peers.sh path NAME    prints where the binary is; fails with the reason when it is not there
#   scripts/peers.sh list         name, version, group, state
#
# The cache is $TOWLINE_PEERS_DIR, by default ${XDG_CACHE_HOME:-$HOME/.cache}/towline/peers.
# Several runs may share it at once. Debian's own peers (coturn, iperf3, ...) come with setup.sh.
set -euo pipefail
script_name=peers
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

peers_dir=${TOWLINE_PEERS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/towline/peers}

# The newest Tailscale that builds with Go 1.26.
tailscale=v1.102.5
pebble=v2.10.1
wireguard=v0.0.0-20260522210424-ecfc5a8d5446

# name | group | kind | version | what to install | the binary that it installs
peers="
derper              | relay     | go    | $tailscale | tailscale.com/cmd/derper     | derper
derpprobe           | relay     | go    | $tailscale | tailscale.com/cmd/derpprobe  | derpprobe
tailscaled          | relay     | go    | $tailscale | tailscale.com/cmd/tailscaled | tailscaled
tailscale           | relay     | go    | $tailscale | tailscale.com/cmd/tailscale  | tailscale
pebble              | relay     | go    | $pebble    | github.com/letsencrypt/pebble/v2/cmd/pebble | pebble
pebble-challtestsrv | relay     | go    | $pebble    | github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv | pebble-challtestsrv
wireguard-go        | wireguard | go    | $wireguard | golang.zx2c4.com/wireguard   | wireguard
boringtun-cli       | wireguard | cargo | 0.7.1      | boringtun-cli                | boringtun-cli
gotatun-cli         | wireguard | cargo | 0.10.2     | gotatun-cli                  | gotatun
"

# Prints "name group kind version what binary" for each peer, without the decoration of the table.
rows() { sed -n 's/ *| */ /gp' <<<"$peers"; }

# Where a peer's binary is, once it is built.
path_of() { # NAME VERSION BINARY
    printf '%s/%s@%s/bin/%s\n' "$peers_dir" "$1" "$2" "$3"
}

row_of() { # NAME
    local row
    row=$(rows | awk -v name="$1" '$1 == name')
    [[ -n $row ]] || die "no peer is called '$1'; there are: $(rows | awk '{printf "%s ", $1}')"
    printf '%s\n' "$row"
}

need_tool() { # TOOL PEER
    local hint
    case $1 in
    go) hint="Go 1.26 or newer must be on PATH (Debian 12's golang package is too old for it)" ;;
    cargo) hint="Rust (cargo) must be on PATH" ;;
    esac
    command -v "$1" >/dev/null || die "cannot build $2: '$1' is missing. $hint."
}

# The folder that a build is under way in; an interrupted build leaves nothing behind.
work=
trap '[[ -z $work ]] || rm -rf "$work"' EXIT

build() { # KIND VERSION WHAT OUTPUT_DIR
    local kind=$1 version=$2 what=$3 out=$4
    mkdir -p "$out/bin"
    # Outside the clone, so that neither its go.mod nor its cargo configuration has a say.
    cd "$out"
    case $kind in
    go) GOBIN=$out/bin GOFLAGS=-buildvcs=false go install "$what@$version" ;;
    cargo) CARGO_TARGET_DIR=$out/target cargo install --locked --root "$out" --version "$version" "$what" ;;
    esac
}

install_peer() { # NAME
    local row name group kind version what binary target lock path start
    row=$(row_of "$1")
    read -r name group kind version what binary <<<"$row"
    path=$(path_of "$name" "$version" "$binary")
    [[ -x $path ]] && return
    need_tool "$kind" "$name"

    mkdir -p "$peers_dir"
    target=$peers_dir/$name@$version
    exec {lock}>"$peers_dir/.$name@$version.lock"
    if ! flock --nonblock "$lock"; then
        say "another run is building $name $version; waiting for it"
        flock "$lock"
    fi
    if [[ ! -x $path ]]; then
        start=$SECONDS
        say "building $name $version (once; it is kept in $peers_dir)"
        work=$(mktemp -d "$peers_dir/.building-$name.XXXXXX")
        if ! run_logged "building $name" "$peers_dir/$name@$version.log" \
            build "$kind" "$version" "$what" "$work"; then
            die "could not build $name $version; the whole log is $peers_dir/$name@$version.log"
        fi
        [[ -x $work/bin/$binary ]] || die "$what $version installed $(ls "$work/bin"), not $binary"
        rm -rf "$work/target"
        rm -rf "$target"
        mv -T "$work" "$target"
        work=
        say "built $name $version in $((SECONDS - start)) s"
    fi
    exec {lock}>&-
}

print_path() { # NAME
    local row name group kind version what binary path
    row=$(row_of "$1")
    read -r name group kind version what binary <<<"$row"
    path=$(path_of "$name" "$version" "$binary")
    [[ -x $path ]] || die "$name $version is not installed; run scripts/peers.sh $group"
    printf '%s\n' "$path"
}

print_list() {
    local name group kind version what binary state
    while read -r name group kind version what binary; do
        state=missing
        [[ -x $(path_of "$name" "$version" "$binary") ]] && state=built
        printf '%-20s %-36s %-10s %s\n' "$name" "$version" "$group" "$state"
    done < <(rows)
}

(($# > 0)) || { print_header "$0"; exit 2; }
case $1 in
-h | --help) print_header "$0" ;;
path) [[ $# -eq 2 ]] || die "usage: scripts/peers.sh path NAME"; print_path "$2" ;;
list) print_list ;;
relay | wireguard)
    for name in $(rows | awk -v group="$1" '$2 == group {print $1}'); do install_peer "$name"; done
    ;;
all) for name in $(rows | awk '{print $1}'); do install_peer "$name"; done ;;
*) for name in "$@"; do install_peer "$name"; done ;;
esac
