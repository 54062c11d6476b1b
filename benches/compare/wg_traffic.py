#!/usr/bin/env python3
"""Traffic that iperf3 does not make, for wg.py: UDP whose application uses segmentation offload, and round trips.

    wg_traffic.py serve ADDRESS            answers both
    wg_traffic.py gso ADDRESS SECONDS      what arrives of trains sent as fast as they go, as JSON
    wg_traffic.py ping ADDRESS SECONDS     round trips of small datagrams, one at a time, as JSON
    wg_traffic.py await-port PORT          returns when somebody listens on the TCP port
"""

import json
import select
import socket
import sys
import time

SINK_PORT, ECHO_PORT = 7101, 7102
UDP_SEGMENT, UDP_GRO = 103, 104
SEGMENT_BYTES = 1340
TRAIN = bytes(SEGMENT_BYTES * 44)
ASK = b"how much?"
BETWEEN_PINGS_S = 0.0005


def serve(address):
    sink, echo = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
    sink.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sink.bind((address, SINK_PORT))
    echo.bind((address, ECHO_PORT))
    print("ready", flush=True)
    count, buffer = 0, bytearray(1 << 16)
    while True:
        for ready in select.select([sink, echo], [], [])[0]:
            size, source = ready.recvfrom_into(buffer)
            if ready is echo:
                echo.sendto(buffer[:size], source)
            elif buffer[:size] == ASK:
                sink.sendto(str(count).encode(), source)
            else:
                count += size


def gso(address, seconds):
    s = socket.socket(type=socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    s.connect((address, SINK_PORT))
    s.settimeout(1)

    def arrived():
        for _ in range(10):
            try:
                s.send(ASK)
                return int(s.recv(64))
            except socket.timeout:
                continue
        raise SystemExit("wg_traffic: the sink does not answer")

    before = arrived()
    s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SEGMENT_BYTES)
    began = time.monotonic()
    sent = 0
    while (now := time.monotonic()) < began + seconds:
        sent += s.send(TRAIN)
    took = now - began
    s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
    time.sleep(0.2)
    count = arrived() - before
    return {"gbit": count * 8 / took / 1e9, "sent_gbit": sent * 8 / took / 1e9}


def ping(address, seconds):
    s = socket.socket(type=socket.SOCK_DGRAM)
    s.connect((address, ECHO_PORT))
    s.settimeout(0.5)
    times, lost, end = [], 0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        s.send(len(times).to_bytes(8, "big"))
        try:
            while int.from_bytes(s.recv(64), "big") != len(times):
                pass
            times.append(time.perf_counter() - began)
        except socket.timeout:
            lost += 1
            times.append(0.5)
        time.sleep(BETWEEN_PINGS_S)
    times.sort()
    at = lambda share: times[int(share * (len(times) - 1))] * 1e6
    return {"p50_us": at(0.5), "p99_us": at(0.99), "count": len(times), "lost": lost}


def await_port(port):
    for _ in range(500):
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(table) as lines:
                if any(line.split()[1].endswith(f":{int(port):04X}") and line.split()[3] == "0A" for line in lines):
                    return
        time.sleep(0.01)
    raise SystemExit(f"wg_traffic: nobody listens on port {port}")


match sys.argv[1:]:
    case ["serve", address]:
        serve(address)
    case ["gso", address, seconds]:
        print(json.dumps(gso(address, float(seconds))))
    case ["ping", address, seconds]:
        print(json.dumps(ping(address, float(seconds))))
    case ["await-port", port]:
        await_port(port)
    case _:
        raise SystemExit(__doc__)
