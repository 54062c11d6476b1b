#!/usr/bin/env bash
# From a clone to a running relay: installs what the build needs, builds, starts a relay with a self-signed
# certificate and prints the DERP map to paste. Ctrl-C stops it.
#
#   scripts/quickstart.sh                     on 127.0.0.1: only this machine can use it
#   scripts/quickstart.sh 192.0.2.7           on an address of this host, for others to use
#   scripts/quickstart.sh 192.0.2.7 8443 3478 also choosing the ports of DERP and STUN
#
# Key and certificate are kept in ${XDG_STATE_HOME:-$HOME/.local/state}/towline, so that the DERP map
# stays the same from one start to the next. Anyone who can reach the relay may use it: admission, real
# certificates and the systemd units are in docs/relay.md.
set -euo pipefail
script_name=quickstart
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

case ${1-} in -h | --help) print_header "$0"; exit ;; esac
address=${1-127.0.0.1} derp_port=${2-8443} stun_port=${3-3478}
state=${XDG_STATE_HOME:-$HOME/.local/state}/towline

cd "$repo_dir"
scripts/setup.sh build
say "building (a few minutes the first time)"
cargo build --locked --release --package towline

mkdir -p "$state"
listen=$address:$derp_port
[[ $address != *:* ]] || listen=[$address]:$derp_port
target/release/towline relay \
    --listen "$listen" --http-port -1 --stun-port "$stun_port" \
    --certmode self-signed --hostname "$address" --certdir "$state" --key-file "$state/relay.key" \
    --admin-socket "$state/relay.sock" --drain-time 1s &
relay=$!
trap 'kill -TERM "$relay" 2>/dev/null || true' EXIT HUP INT TERM

# The relay tells the pin of its certificate once it serves.
pin=
for _ in {1..100}; do
    kill -0 "$relay" 2>/dev/null || { wait "$relay" || die "the relay did not start; its last lines say why"; }
    pin=$(target/release/towline relay status --admin-socket "$state/relay.sock" --output json 2>/dev/null |
        grep -o 'sha256-raw:[0-9a-f]*' || true)
    [[ -z $pin ]] || break
    sleep 0.1
done
[[ -n $pin ]] || die "the relay runs but does not tell its certificate"

cat <<MAP

The relay is running. Paste this region into your DERP map (Tailscale: "derpMap" of the policy file,
Headscale: a file in derp.paths, Coder: --derp-config-path):

{
  "Regions": {
    "900": {
      "RegionID": 900,
      "RegionCode": "towline",
      "RegionName": "towline",
      "Nodes": [
        {
          "Name": "900a",
          "RegionID": 900,
          "HostName": "$address",
          "CertName": "$pin",
          "DERPPort": $derp_port,
          "STUNPort": $stun_port
        }
      ]
    }
  }
}

How it is doing:  target/release/towline relay status --admin-socket $state/relay.sock
To stop it:       Ctrl-C, or kill $relay

MAP

# The first wait ends early when a signal comes; the second one sees the relay out.
wait "$relay" || wait "$relay" 2>/dev/null || true
say "stopped"
