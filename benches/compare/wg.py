#!/usr/bin/env python3
"""Measures WireGuard implementations side by side, in one run, and prints the table of the README. Needs root.

scripts/bench.sh wg calls this. Two network namespaces with a cable (veth) between them; both ends of the tunnel are of the
same implementation, and they, iperf3 and the kernel share the CPUs. In each round the contestants take turns, and each
figure is the median of the rounds, so that a drift of the machine hits all of them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "scripts" / "lab"))
import wg_report as report
from common import fill, machine
from lab import Lab, tunnel

UDP_PAYLOAD = 1340
# The fixed rate at which processor time is compared.
CPU_MBIT = 400
LOSS_MAX = 0.001
TOOL = str(Path(__file__).resolve().parent / "wg_traffic.py")


class Run:
    """One contestant between two hosts; what is measured goes into `figures`."""

    def __init__(self, lab, ends, seconds):
        self.lab, self.ends, self.seconds, self.figures = lab, ends, seconds, {}
        self.target = lab.b.inner4 if ends else lab.b.address4

    def cpu_s(self):
        return sum(end.cpu_s() for end in self.ends)

    def iperf(self, *arguments):
        server = self.lab.b.start("iperf3", "--server", "--one-off", "--json", stdout=subprocess.DEVNULL)
        try:
            self.lab.b.run(sys.executable, TOOL, "await-port", 5201)
            said = self.lab.a.run("iperf3", "--client", self.target, "--json", "--time", self.seconds, *arguments)
            server.wait(10)
            return json.loads(said)["end"]
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()

    def tcp(self, key, *arguments):
        before = self.cpu_s()
        end = self.iperf(*arguments)
        used_s = self.cpu_s() - before
        directions = [sum_ for name, sum_ in end.items() if name.startswith("sum_received")]
        self.figures[f"{key} gbit"] = sum(each["bits_per_second"] for each in directions) / 1e9
        self.figures[f"{key} retransmits"] = sum(each.get("retransmits", 0) for name, each in end.items() if name.startswith("sum_sent"))
        self.figures[f"{key} cpu per gb"] = used_s / (sum(each["bytes"] for each in directions) / 1e9)

    def udp_rate(self):
        """The highest rate with hardly a loss: doubles or halves until it turns, then halves the distance four times."""

        def holds(mbit):
            end = self.iperf("--udp", "--bitrate", f"{round(mbit)}M", "--length", UDP_PAYLOAD)["sum"]
            carried = end["bits_per_second"] / 1e6
            # iperf3 does not reach every rate that it is asked for: what it did is what counts.
            return end["lost_packets"] <= LOSS_MAX * end["packets"], carried

        good, bad, mbit = 0, None, 400
        for _ in range(9):
            held, carried = holds(mbit)
            if held:
                good = max(good, carried)
                if carried < 0.9 * mbit:
                    break
            else:
                bad = mbit
            if bad is None:
                mbit *= 2
            elif bad / max(good, 1) < 1.1:
                break
            elif good == 0:
                mbit /= 2
            else:
                mbit = (good * bad) ** 0.5
        self.figures["udp gbit"] = good / 1000

    def tool(self, *arguments):
        server = self.lab.b.start(sys.executable, TOOL, "serve", self.target, stdout=subprocess.PIPE, text=True)
        try:
            server.stdout.readline()
            return json.loads(self.lab.a.run(sys.executable, TOOL, *arguments, self.target, self.seconds))
        finally:
            server.kill()
            server.wait()
            server.stdout.close()

    def udp_gso(self):
        self.figures["gso gbit"] = self.tool("gso")["gbit"]

    def round_trips(self):
        idle = self.tool("ping")
        self.figures["idle p50 us"] = idle["p50_us"]
        background = self.lab.b.start("iperf3", "--server", "--one-off", "--port", 5202, stdout=subprocess.DEVNULL)
        self.lab.b.run(sys.executable, TOOL, "await-port", 5202)
        load = self.lab.a.start(
            "iperf3", "--client", self.target, "--port", 5202, "--bitrate", f"{CPU_MBIT}M", "--time", self.seconds + 2, stdout=subprocess.DEVNULL
        )
        time.sleep(1)
        self.figures["loaded p99 us"] = self.tool("ping")["p99_us"]
        for process in (load, background):
            process.wait(20)

    def everything(self, only):
        scenarios = {
            "tcp1": lambda: self.tcp("tcp1"),
            "tcp4": lambda: self.tcp("tcp4", "--parallel", 4),
            "bidir": lambda: self.tcp("bidir", "--bidir"),
            "fixed": lambda: self.tcp("fixed", "--bitrate", f"{CPU_MBIT}M"),
            "udp": self.udp_rate,
            "gso": self.udp_gso,
            "rtt": self.round_trips,
        }
        for name, scenario in scenarios.items():
            if not only or name in only:
                scenario()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--towline", required=True, help="path of the towline binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="1 round of 2 seconds each: to try it, not to quote it")
    parser.add_argument("--contestants", default="wireguard-go,gotatun-cli,boringtun-cli,towline", help="comma-separated; `towline --io epoll` is one too; the first is what others are compared with")
    parser.add_argument("--only", default="", help="comma-separated scenarios: tcp1, tcp4, bidir, fixed, udp, gso, rtt")
    parser.add_argument("--results", type=Path, help="write everything that was measured and the table here: this name with .json and .md")
    parser.add_argument("--readme", type=Path, help="put the table between the markers of this file")
    options = parser.parse_args()
    os.environ["TOWLINE"] = options.towline
    rounds, seconds = (1, 2) if options.quick else (options.rounds, options.seconds)
    only = set(filter(None, options.only.split(",")))
    contestants = options.contestants.split(",")

    figures = {}
    for turn in range(rounds):
        for name in contestants:
            print(f"bench: round {turn + 1}: {name}", file=sys.stderr)
            with Lab() as lab, tunnel(lab, name, name) as ends:
                run = Run(lab, ends, seconds)
                run.everything(only)
            figures.setdefault(name, []).append(run.figures)
        with Lab() as lab:
            bare = Run(lab, (), seconds)
            bare.everything((only or {"udp", "rtt", "tcp1"}) & {"udp", "rtt", "tcp1"})
        figures.setdefault("bare cable", []).append(bare.figures)

    medians = {
        name: {key: statistics.median(each[key] for each in runs) for key in runs[0]} for name, runs in figures.items()
    }
    table = report.table(contestants, medians, f"{machine()}; medians of {rounds} rounds of {seconds} s")
    if options.results:
        options.results.parent.mkdir(parents=True, exist_ok=True)
        kept = {"machine": machine(), "rounds": rounds, "seconds": seconds, "figures": figures}
        options.results.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")
        options.results.with_suffix(".md").write_text(table + "\n")
    print(table)
    if options.readme:
        fill(options.readme, "wg", table)


if __name__ == "__main__":
    main()
