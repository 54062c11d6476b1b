"""What every comparison needs: which machine this is, and putting a table into the README. Used by relay.py and wg.py."""

import os
from pathlib import Path


def machine():
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown CPU")
    return f"{model}, {os.cpu_count()} CPUs, Linux {os.uname().release}"


def fill(readme: Path, name, text):
    """Puts a table between the markers of the README that have this name."""
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    before, found_begin, rest = readme.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise SystemExit(f"bench: {readme} lacks the markers {begin} and {end}")
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}")
