"""Turns what wg.py measured into the table of the README. Measures nothing."""

# label | figure | unit | which way is good | digits | what the bare cable's figure is taken off from it
ROWS = [
    ("TCP, one stream", "tcp1 gbit", "Gbit/s", "more", 2, False),
    ("… retransmitted segments", "tcp1 retransmits", "", "", 0, False),
    ("… CPU time of both ends for a GB", "tcp1 cpu per gb", "s", "less", 2, False),
    ("TCP, four streams", "tcp4 gbit", "Gbit/s", "more", 2, False),
    ("… retransmitted segments", "tcp4 retransmits", "", "", 0, False),
    ("TCP, both directions at once", "bidir gbit", "Gbit/s", "more", 2, False),
    ("CPU time of both ends for a GB at 400 Mbit/s", "fixed cpu per gb", "s", "less", 2, False),
    ("UDP of 1340 bytes, highest rate that loses under 0.1 %", "udp gbit", "Gbit/s", "more", 2, False),
    ("UDP whose application segments by GSO, delivered", "gso gbit", "Gbit/s", "more", 2, False),
    ("round trip added, median, idle", "idle p50 us", "µs", "less", 0, True),
    ("round trip added, 99th percentile, beside 400 Mbit/s", "loaded p99 us", "µs", "less", 0, True),
]


def figure(medians, name, key, less_bare):
    value = medians[name][key]
    return value - medians["bare cable"][key] if less_bare else value


def gain(better, first, last):
    """How many times better the last contestant is than the first."""
    if better == "less":
        return f"{first / last:.1f}× less" if last > 0 else ""
    return f"{last / first:.1f}× more" if first > 0 else ""


def table(contestants, medians, machine):
    """The table as Markdown; the last column compares the last contestant with the first."""
    lines = ["| | " + " | ".join(contestants) + " | bare cable | |", "|---|" + "---:|" * (len(contestants) + 2)]
    for label, key, unit, better, digits, less_bare in ROWS:
        if any(key not in medians[name] for name in contestants):
            continue
        values = [figure(medians, name, key, less_bare) for name in contestants]
        cells = [f"{value:,.{digits}f} {unit}".strip() for value in values]
        bare = medians.get("bare cable", {}).get(key)
        cells.append("" if bare is None or not unit else f"{bare:,.{digits}f} {unit}")
        cells.append(gain(better, values[0], values[-1]) if better else "")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["", f"{machine}. Two namespaces and a veth pair, MTU 1420, both ends of a tunnel of one kind, with iperf3 on the same CPUs; "]
    lines[-1] += f"the last column compares {contestants[-1]} with {contestants[0]}."
    return "\n".join(lines)
