#!/usr/bin/env python3
"""Measures derper and towline side by side, in one run, and prints the table of the README.

scripts/bench.sh calls this with the two programs. The relay is alone on the first CPU, the generator (`towline bench relay`)
on the second; each figure is the median of several rounds, and in each round the contestants take turns, so that
a drift of the machine hits all of them. Nothing but loopback is loaded.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import picture
import report
from common import fill, machine
from relays import CpuQuota, NoQuota, Relay

RELAY_CPU, GENERATOR_CPU = 0, 1
# The share of its CPU that a relay gets in the overload scenario: small enough for one generator to offer
# twice what the relay carries.
OVERLOAD_SHARE = 0.25
# Bulk beside the latency probes, as a share of what derper carries.
LATENCY_LOAD = 0.8
IDLE_CLIENTS = 10_000


@dataclass
class Contestant:
    name: str
    command: list
    environment: dict = field(default_factory=dict)


class Bench:
    """Runs scenarios against contestants and keeps every report of the generator."""

    def __init__(self, towline, contestants, rounds, seconds):
        self.towline, self.contestants, self.rounds, self.seconds = towline, contestants, rounds, seconds
        self.reports = {}

    def generator(self, relay, arguments):
        command = ["taskset", "--cpu-list", str(GENERATOR_CPU), self.towline, "bench", "relay", relay.url, *arguments]
        command += ["--relay-pid", str(relay.process.pid), "--output", "json", "--quiet"]
        command += ["--duration", f"{self.seconds}s", "--warm-up", "1s"]
        if relay.tls:
            # The same key exchange and version for all.
            command += ["--insecure", "--tls-kx", "x25519", "--tls-version", "1.3"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=600)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed with status {done.returncode}")
        return json.loads(done.stdout)

    def scenario(self, key, arguments, tls=True, quota=None, rounds=None):
        """Measures one scenario for all contestants, a fresh relay each time."""
        for turn in range(rounds or self.rounds):
            for contestant in self.contestants:
                print(f"bench: {key}, round {turn + 1}: {contestant.name}", file=sys.stderr)
                with Relay(contestant.name, contestant.command, RELAY_CPU, tls, contestant.environment) as relay:
                    if quota:
                        with CpuQuota(relay.process.pid, quota):
                            result = self.generator(relay, arguments)
                            relay.close()
                    else:
                        result = self.generator(relay, arguments)
                self.reports.setdefault(key, {}).setdefault(contestant.name, []).append(result)

    def median(self, key, name, value):
        """The median over the rounds of `value`, a function of a report."""
        return statistics.median(value(result) for result in self.reports[key][name])

    def run_packets(self):
        for key, arguments, tls in report.PACKET_SCENARIOS:
            self.scenario(key, arguments, tls)

    def run_rest(self):
        baseline = self.contestants[0].name
        bulk_mbit = LATENCY_LOAD * self.median("1 in a write", baseline, report.mbit_per_s)
        try:
            self.scenario("overload", ["overload", "--times", "2"], quota=OVERLOAD_SHARE)
        except NoQuota as error:
            print(f"bench: overload is left out: {error}", file=sys.stderr)
        self.scenario("latency", ["latency", "--bulk-mbit", str(round(bulk_mbit))])
        self.scenario("idle", ["idle", "--clients", str(IDLE_CLIENTS)], rounds=1)
        self.scenario("handshakes", ["handshakes"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--towline", required=True, help="path of the towline binary: relay and generator")
    parser.add_argument("--derper", help="path of derper; without it, towline's two drivers are compared")
    parser.add_argument("--rounds", type=int, help="3 unless --quick")
    parser.add_argument("--seconds", type=int, help="of each measurement: 6 unless --quick")
    parser.add_argument("--quick", action="store_true", help="1 round of 2 seconds each: to try it, not to quote it")
    parser.add_argument("--only-packets", action="store_true", help="leave out overload, latency, idle clients, handshakes")
    parser.add_argument("--results", type=Path, help="write every report of the generator, the table and a picture here: this name with .json, .md and .svg")
    parser.add_argument("--readme", type=Path, help="put the table between the markers of this file")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 3)
    seconds = options.seconds or (2 if options.quick else 6)

    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: two CPUs are needed, one for the relay and one for the generator")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * IDLE_CLIENTS:
        sys.exit(f"bench: the hard limit of open files is {hard}; {2 * IDLE_CLIENTS} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(2 * IDLE_CLIENTS, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), hard))

    # One thread for the one CPU: what derper's runtime does by itself.
    relay = [options.towline, "relay", "--shards", "1"]
    if options.derper:
        contestants = [Contestant("derper", [options.derper]), Contestant("towline", relay)]
    else:
        contestants = [Contestant("epoll", [*relay, "--io", "epoll"]), Contestant("io_uring", [*relay, "--io", "uring"])]

    bench = Bench(options.towline, contestants, rounds, seconds)
    bench.run_packets()
    if not options.only_packets:
        bench.run_rest()
    names = [contestant.name for contestant in contestants]
    table = report.table(names, bench.reports, f"{machine()}; medians of {rounds} rounds of {seconds} s")
    if options.results:
        kept = {"machine": machine(), "rounds": rounds, "seconds": seconds, "reports": bench.reports}
        options.results.parent.mkdir(parents=True, exist_ok=True)
        options.results.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")
        options.results.with_suffix(".md").write_text(table + "\n")
        options.results.with_suffix(".svg").write_text(picture.svg(report.ROWS, names, bench.reports))
    print(table)
    if options.readme:
        fill(options.readme, "relay", table)


if __name__ == "__main__":
    main()
