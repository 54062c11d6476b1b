"""Turns the generator's reports into the table of the README. Measures nothing. Used by relay.py."""

import statistics

# name | arguments of `towline bench relay` | over TLS
PACKET_SCENARIOS = [
    ("1 in a write", [], True),
    ("8 in a write", ["--packets-per-write", "8"], True),
    ("20 pairs", ["--pairs", "20"], True),
    ("128 B", ["--size", "128"], True),
    ("16 KiB", ["--size", "16KiB"], True),
    ("no TLS", [], False),
]


# What the figures are called in the generator's JSON is said here and nowhere else.
def mbit_per_s(report):
    return report["delivered"]["mbit_per_s"]


def cpu_us_per_packet(report):
    return report["relay"]["cpu_us_per_packet"]


def share_of_peak(report):
    return 100 * report["share_of_peak"]


def rtt_p99_ms(report):
    return report["rtt_us"]["p99"] / 1000


def bulk_lost_percent(report):
    return 100 * report["delivered"]["lost_share"]


def kib_per_client(report):
    relay = report["relay"]
    return relay["resident_bytes_per_client"] / 1024


def handshakes_per_cpu_s(report):
    return report["relay"]["handshakes_per_cpu_s"]


def is_generator_limited(report):
    return report["limited_by_generator"]


class Row:
    """One figure of both contestants; `better` says which way is good: "less" or "more"."""

    def __init__(self, label, key, value, unit, better, digits=1, is_rate=False):
        self.label, self.key, self.value, self.unit, self.better, self.digits = label, key, value, unit, better, digits
        # A rate is a lower bound when the generator was the limit; time and memory of the relay's own are not.
        self.is_rate = is_rate

    def figures(self, contestants, reports):
        """The median over the rounds of each contestant."""
        return [statistics.median(self.value(report) for report in reports[self.key][name]) for name in contestants]

    def gain(self, contestants, reports):
        """How many times better the second is; None where a ratio says nothing."""
        first, second = self.figures(contestants, reports)
        worse, better = (first, second) if self.better == "less" else (second, first)
        return worse / better if better > 0 and self.unit != "%" else None

    def cells(self, contestants, reports):
        texts = []
        for name, figure in zip(contestants, self.figures(contestants, reports)):
            is_bound = self.is_rate and any(is_generator_limited(report) for report in reports[self.key][name])
            texts.append(f"{'≥ ' if is_bound else ''}{figure:,.{self.digits}f} {self.unit}")
        gain = self.gain(contestants, reports)
        return [self.label, *texts, f"{gain:.1f}× {self.better}" if gain else ""]


def cpu_row(label, key):
    return Row(label, key, cpu_us_per_packet, "µs", "less", 2)


def throughput_row(label, key):
    return Row(label, key, lambda report: mbit_per_s(report) / 1000, "Gbit/s", "more", 2, is_rate=True)


ROWS = [
    cpu_row("CPU time for a packet, 8 in each write of the sender", "8 in a write"),
    cpu_row("… 1 in each write", "1 in a write"),
    cpu_row("… 20 pairs", "20 pairs"),
    cpu_row("… of 128 bytes", "128 B"),
    cpu_row("… of 16 KiB", "16 KiB"),
    cpu_row("… without TLS", "no TLS"),
    throughput_row("throughput of one core, 8 packets in each write", "8 in a write"),
    throughput_row("… 1 in each write", "1 in a write"),
    Row("delivered at twice its saturation, of its own peak", "overload", share_of_peak, "%", "more", 0),
    Row("p99 round trip beside bulk at 80 % of the first's saturation", "latency", rtt_p99_ms, "ms", "less", 2),
    Row("… bulk lost meanwhile", "latency", bulk_lost_percent, "%", "less", 1),
    Row("memory for an idle TLS client", "idle", kib_per_client, "KiB", "less"),
    Row("full TLS 1.3 handshakes (X25519) in a second of CPU", "handshakes", handshakes_per_cpu_s, "", "more", 0),
]


def table(contestants, reports, machine):
    """The table as Markdown. Rows whose scenario was not run are left out."""
    lines = [f"| | {contestants[0]} | {contestants[1]} | |", "|---|---:|---:|---:|"]
    for row in ROWS:
        if row.key in reports:
            lines.append("| " + " | ".join(cell.strip() for cell in row.cells(contestants, reports)) + " |")
    lines += ["", f"{machine}. 1400-byte packets over TLS 1.3, 4 pairs with 24 packets under way each, unless said; `≥`: "]
    lines[-1] += "the generator was the limit."
    return "\n".join(lines)
