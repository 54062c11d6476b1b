#!/usr/bin/env bash
# Two real tailscaled nodes that can reach each other only through the relay under test.
#
#   scripts/interop/nodes.sh derper|towline
#
# Called by run.sh, which builds the programs and names them: DERPER, TOWLINE, TAILSCALED, TAILSCALE,
# CONTROL, TRANSFER. Three network namespaces: the hub with relay and control server, and one for each
# node. The hub routes between the nodes, but drops their UDP. Everything is removed at the end,
# however it comes. The machine's own network is not touched.
set -euo pipefail
script_name=nodes
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/../lib.sh"

kind=${1:?derper or towline}
quick=${INTEROP_QUICK:-}
for variable in TAILSCALED TAILSCALE CONTROL TRANSFER; do
    [[ -x ${!variable:-} ]] || die "$variable is not set to a program; run.sh does that"
done
case $kind in
derper) relay_command=("${DERPER:?}") ;;
towline) relay_command=("${TOWLINE:?}" relay ${TOWLINE_SHARDS:+--shards "$TOWLINE_SHARDS"}) ;;
*) die "no relay is called '$kind'" ;;
esac
((EUID == 0)) || die "network namespaces need root"
for tool in ip nft; do command -v "$tool" >/dev/null || die "'$tool' is missing"; done
[[ -c /dev/net/tun ]] || die "/dev/net/tun is missing"

tag=interop$$
hub=$tag-hub
work=$(mktemp -d "/tmp/$tag.XXXXXX")
relay_ip=10.213.0.1
relay_ip6=fd42:213::1
control=$relay_ip:8080
file_bytes=$((50 * 1000 * 1000))
declare -A pids=()

cleanup() {
    local status=$? pid name
    trap - EXIT INT TERM
    trap '' PIPE # the reader of our output may be gone; the namespaces must go all the same
    set +e
    for name in "${!pids[@]}"; do kill -KILL "${pids[$name]}" 2>/dev/null || true; done
    wait 2>/dev/null || true
    for name in hub a b; do
        # What a node started and left behind goes with its namespace.
        for pid in $(ip netns pids "$tag-$name" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null || true; done
        ip netns del "$tag-$name" 2>/dev/null || true
        rm -rf "/etc/netns/$tag-$name"
    done
    rmdir /etc/netns 2>/dev/null || true
    if ((status != 0)); then
        for name in "$work"/*.log; do
            [[ -s $name ]] || continue
            warn "the end of ${name##*/}:"
            tail -n 25 "$name" >&2
        done
    fi
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# in_ns NAME COMMAND... runs it in a namespace; tailscaled finds a resolv.conf of its own there.
in_ns() {
    local name=$1
    shift
    ip netns exec "$tag-$name" "$@"
}

# background NAME NAMESPACE COMMAND... starts it with its output in NAME.log.
background() {
    local name=$1 namespace=$2
    shift 2
    ip netns exec "$tag-$namespace" env HOME="$work" RUNTIME_DIRECTORY="$work" TMPDIR="$work" "$@" >>"$work/$name.log" 2>&1 &
    pids[$name]=$!
}

# eventually SECONDS WHAT COMMAND... repeats a command until it succeeds.
eventually() {
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >"$work/eventually.log" 2>&1; do
        ((SECONDS < limit)) || die "$what: not in time; the last try said: $(tail -n 5 "$work/eventually.log")"
        sleep 0.2
    done
}

make_networks() {
    local name number
    for name in hub a b; do
        ip netns add "$tag-$name"
        mkdir -p "/etc/netns/$tag-$name"
        echo "# an empty one, for $tag-$name only" >"/etc/netns/$tag-$name/resolv.conf"
        in_ns "$name" ip link set lo up
    done
    in_ns hub ip addr add $relay_ip/32 dev lo
    in_ns hub ip addr add $relay_ip6/128 dev lo nodad
    in_ns hub sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    number=0
    for name in a b; do
        number=$((number + 1))
        ip link add "to-$name" netns "$hub" type veth peer name uplink netns "$tag-$name"
        in_ns hub ip addr add "10.213.$number.1/24" dev "to-$name"
        in_ns hub ip addr add "fd42:213:$number::1/64" dev "to-$name" nodad
        in_ns hub ip link set "to-$name" up
        in_ns "$name" ip addr add "10.213.$number.2/24" dev uplink
        in_ns "$name" ip addr add "fd42:213:$number::2/64" dev uplink nodad
        in_ns "$name" ip link set uplink up
        in_ns "$name" ip route add 10.213.0.0/16 via "10.213.$number.1"
        in_ns "$name" ip route add fd42:213::/32 via "fd42:213:$number::1"
    done
    # No UDP from node to node, neither through the hub nor out of the nodes; TCP and ICMP pass.
    in_ns hub nft -f - <<RULES
table inet interop {
    chain forward {
        type filter hook forward priority 0;
        meta l4proto udp counter drop
    }
}
RULES
}

start_relay() {
    background relay hub "${relay_command[@]}" -a :443 -http-port 80 -stun-port 3478 -certmode manual \
        -certdir "$work" -hostname $relay_ip -c "$work/relay.key"
    eventually 15 "the relay listens" in_ns hub bash -c "exec 3<>/dev/tcp/$relay_ip/443"
}

# The relay made itself a certificate for its address, and has said how a DERP map names it.
write_derp_map() {
    local cert_name
    cert_name=$(grep -ohE 'sha256-raw:[0-9a-f]{64}' "$work/relay.log" | head -n 1) ||
        die "the relay did not print a sha256-raw name for its certificate"
    cat >"$work/map.json" <<MAP
{"Regions": {"900": {"RegionID": 900, "RegionCode": "lab", "RegionName": "Lab", "Nodes": [{
    "Name": "900a", "RegionID": 900, "HostName": "$relay_ip", "CertName": "$cert_name",
    "IPv4": "$relay_ip", "IPv6": "$relay_ip6", "CanPort80": true}]}}}
MAP
}

tailscale() { # NODE ARGS...
    local node=$1
    shift
    in_ns "$node" "$TAILSCALE" --socket "$work/$node/tailscaled.sock" "$@"
}

start_node() { # NODE
    mkdir -p "$work/$1"
    background "tailscaled-$1" "$1" TS_NO_LOGS_NO_SUPPORT=true "$TAILSCALED" --statedir "$work/$1" --socket "$work/$1/tailscaled.sock" \
        --tun ts0 --port 41641 --no-logs-no-support
    eventually 20 "tailscaled of $1 answers" tailscale "$1" status --json
    timeout 60 ip netns exec "$tag-$1" "$TAILSCALE" --socket "$work/$1/tailscaled.sock" up --login-server "http://$control" \
        --hostname "$1" --accept-dns=false --netfilter-mode=off
}

pings_through_relay() { # FROM TO-IP
    tailscale "$1" ping --c 1 --timeout 3s --until-direct=false "$2" | tee "$work/ping.log"
    grep -q 'via DERP(lab)' "$work/ping.log"
}

say "$kind: namespaces, relay, control server, two nodes"
make_networks
start_relay
write_derp_map
background control hub "$CONTROL" -listen $control -derp-map "$work/map.json"
eventually 10 "the control server is ready" grep -q ready "$work/control.log"
start_node a
start_node b
b_ip=$(tailscale b ip -4)

say "$kind: tailscale netcheck"
tailscale a netcheck >"$work/netcheck.log" 2>&1 || die "netcheck failed"
grep -E 'UDP:|IPv[46]:|Nearest DERP|- *lab' "$work/netcheck.log" | sed 's/^/    /'
grep -q 'UDP: true' "$work/netcheck.log" || die "netcheck: STUN did not answer"
grep -q "IPv6: yes, \\[fd42:213:1::2\\]" "$work/netcheck.log" || die "netcheck: STUN over IPv6 did not answer"
grep -q "IPv4: yes, 10.213.1.2:" "$work/netcheck.log" || die "netcheck: STUN over IPv4 told another address"
grep -q 'Nearest DERP: Lab' "$work/netcheck.log" || die "netcheck does not name our region"
grep -qE -- '- *lab: +[0-9.]+.?s' "$work/netcheck.log" || die "netcheck measured no latency to our region"

say "$kind: tailscale debug derp"
tailscale a debug derp lab >"$work/debug-derp.log" 2>&1 || die "tailscale debug derp failed"
errors=$(tr -d '\n' <"$work/debug-derp.log" | sed -n 's/.*"Errors": *\(\[[^]]*\]\|null\).*/\1/p')
[[ $errors == null || $errors == "[]" || -z $errors ]] || die "tailscale debug derp: $errors"

say "$kind: the nodes reach each other through the relay"
eventually 40 "a pings b" pings_through_relay a "$b_ip"
for _ in 1 2 3; do
    pings_through_relay a "$b_ip" | sed 's/^/    /'
done
tailscale a ping --tsmp --c 1 --timeout 10s "$b_ip" | sed 's/^/    /' || die "a ping inside the tunnel failed"

say "$kind: a file of $((file_bytes / 1000000)) MB"
head -c "$file_bytes" /dev/urandom >"$work/sent"
background transfer b "$TRANSFER" serve "$b_ip:7000" "$work/sent"
# The server may not listen yet at the first try.
eventually 10 "b serves the file" in_ns b bash -c "exec 3<>/dev/tcp/$b_ip/7000"
timeout 90 ip netns exec "$tag-a" "$TRANSFER" fetch "$b_ip:7000" "$work/received" | sed 's/^/    /' || die "the transfer failed"
sent=$(sha256sum <"$work/sent") received=$(sha256sum <"$work/received")
[[ $sent == "$received" ]] || die "the file arrived changed: $sent, $received"
say "$kind: it arrived unchanged, sha256 ${sent%% *}"

dropped=$(in_ns hub nft list table inet interop | grep -oE 'packets [0-9]+' | grep -oE '[0-9]+')
((dropped > 0)) || die "the nodes did not even try UDP: the block proves nothing"
say "$kind: $dropped UDP packets between the nodes were blocked"
pings_through_relay a "$b_ip" >/dev/null || die "the nodes found another way than the relay"

if [[ -z $quick ]]; then
    say "$kind: the relay restarts"
    kill -KILL "${pids[relay]}"
    wait "${pids[relay]}" 2>/dev/null || true
    start_relay
    eventually 60 "a pings b after the restart" pings_through_relay a "$b_ip"
fi
say "$kind: green"
