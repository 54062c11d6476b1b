#!/usr/bin/env python3
"""Checks the walls between our crates. scripts/test.sh and CI run it; it prints each breach and exits 1.

  1. Crates depend on each other only along the arrows of ARROWS (from `cargo metadata`).
  2. The sources of the protocol crates reach for no socket, clock, runtime or randomness of the system.
     What is built only for tests and fuzz targets may, but not for our own io crate.
  3. `unsafe` stands only where memory and system calls are the business, and in counting test allocators.
  4. Every other crate root forbids it, so that the compiler agrees.

It reads text, not types: what it cannot see through is forbidden in the form that it can see (import types
from `std::net` and `std::time` one by one, no globs). Its own tests are in check_layers_test.py.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

# Who may use whom, nothing else. Types of `wire` travel with everything built on it.
ARROWS = {
    "towline-wire": set(),
    "towline-aead": set(),
    "towline-io": set(),
    "towline-tls": set(),
    "towline-derp": {"towline-wire"},
    "towline-path": {"towline-wire"},
    "towline-tunnel": {"towline-wire", "towline-aead"},
    "towline-ebpf": {"towline-wire"},
    "towline-device": {"towline-wire", "towline-tunnel", "towline-io"},
    "towline-load": {"towline-wire", "towline-derp", "towline-tls", "towline-io"},
    "towline-relay": {"towline-wire", "towline-derp", "towline-tls", "towline-io"},
    "towline": {"towline-wire", "towline-derp", "towline-relay", "towline-load", "towline-device"},
    "towline-fuzz": {"towline-wire", "towline-derp", "towline-tls", "towline-tunnel", "towline-device"},
}

# Workspaces whose crates have a place in ARROWS.
MANIFESTS = ["Cargo.toml", "fuzz/Cargo.toml"]

PROTOCOL_CRATES = [f"dataplane/{name}" for name in ("wire", "derp", "tls", "tunnel", "path")]
UNSAFE_CRATES = ["dataplane/io", "dataplane/aead", "ebpf"]

# Crates that are a socket, a clock, a runtime or the system's randomness.
SYSTEM_CRATES = set(
    "tokio tokio_uring tokio_util async_std smol mio polling libc nix rustix socket2 quinn_udp io_uring "
    "getrandom ureq hyper reqwest signal_hook chrono towline_io".split()
)
# Parts of std that are the system, and the parts of mixed modules that are only values.
SYSTEM_MODULES = {"os", "fs", "thread", "process", "env"}
VALUES_OF = {
    "net": set("IpAddr Ipv4Addr Ipv6Addr SocketAddr SocketAddrV4 SocketAddrV6 AddrParseError".split()),
    "time": {"Duration"},
}
SYSTEM_IO = {"stdin", "stdout", "stderr"}
# Names that mean the system's randomness whichever crate exports them.
RANDOM_NAMES = re.compile(r"\b(OsRng|SysRng|SystemRandom|ThreadRng|thread_rng|RandomState|from_entropy|from_os_rng)\b")
RANDOM_PATHS = re.compile(r"\b(aws_lc_rs|ring)::rand\b|\brand::(rng|random|thread_rng)\b")
# `HashMap::new` exists only for the hasher that is seeded by the system.
RANDOM_MAPS = re.compile(r"\bHash(Map|Set)(::<[^>]*>)?::(new|with_capacity|from)\b")
CLOCK_READS = re.compile(r"\b\w+::now(_utc|_local)?\s*\(\s*\)")


def strip_comments_and_strings(text):
    """Blanks them out, keeping every line where it is."""
    token = re.compile(
        r"""//[^\n]*
          | /\*
          | \b[bc]?r(?P<hashes>\#*)"(?:.*?)"(?P=hashes)
          | [bc]?"(?:[^"\\]|\\.)*"
          | b?'(?:[^'\\\n]|\\x[0-9a-fA-F]{2}|\\u\{[0-9a-fA-F_]+\}|\\[^ux\n])'
        """,
        re.X | re.S,
    )
    out, at = [], 0
    while match := token.search(text, at):
        out.append(text[at : match.start()])
        end = match.end()
        if match.group() == "/*":
            depth = 1
            while depth and (mark := re.compile(r"/\*|\*/").search(text, end)):
                depth += 1 if mark.group() == "/*" else -1
                end = mark.end()
            if depth:
                end = len(text)
        # The name in `#[cfg(feature = "fuzzing")]` is the one string that matters.
        kept = match.group() == '"fuzzing"'
        out.append(match.group() if kept else re.sub(r"[^\n]", " ", text[match.start() : end]))
        at = end
    out.append(text[at:])
    return "".join(out)


# What only tests and fuzz targets build.
CFG_TEST = re.compile(r"""#\[cfg\((?:test|feature = "fuzzing"|any\(test, feature = "fuzzing"\)|all\(test\b[^\]]*)\)\]""")


def end_of_item(code, at):
    """The end of the item that starts at `at`: its semicolon, or the brace that closes its body."""
    needs_semicolon = re.compile(r"\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?(?:use|static|const(?!\s+fn)|type)\b")
    to_semicolon = needs_semicolon.match(code, at) is not None
    depth = 0
    for index in range(at, len(code)):
        char = code[index]
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth == 0 and char == "}" and not to_semicolon:
                return index + 1
        elif char == ";" and depth == 0:
            return index + 1
    return len(code)


def strip_tests(code):
    """Blanks out items that only tests build; returns the rest and the names of test modules in other files."""
    modules = []
    while match := CFG_TEST.search(code):
        end = end_of_item(code, match.end())
        item = code[match.end() : end]
        if module := re.search(r"\bmod\s+(\w+)\s*;", item):
            modules.append(module.group(1))
        code = code[: match.start()] + re.sub(r"[^\n]", " ", code[match.start() : end]) + code[end:]
    return code, modules


def use_paths(tree):
    """All paths that a use tree names: "std::{fs, time::Duration}" gives two."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        yield [part.strip() for part in re.sub(r"\s+as\s+\w+$", "", tree).split("::") if part.strip()]
        return
    prefix = [part.strip() for part in tree[:brace].split("::") if part.strip()]
    inside, depth, start = tree[brace + 1 : tree.rfind("}")], 0, 0
    for index, char in enumerate(inside + ","):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            if branch := inside[start:index].strip():
                for path in use_paths(branch):
                    yield prefix + ([] if path == ["self"] else path)
            start = index + 1


def reason_against(path):
    """Why a protocol crate may not name this path, or None."""
    root, rest = path[0], path[1:]
    if root in SYSTEM_CRATES:
        return f"uses `{root}`"
    if root != "std":
        return None
    if not rest or rest[0] == "*":
        return "takes `std` as a whole"
    module, item = rest[0], rest[1] if len(rest) > 1 else None
    if module in SYSTEM_MODULES:
        return f"uses `std::{module}`"
    if module in VALUES_OF and item not in VALUES_OF[module]:
        return f"uses `{'::'.join(path)}` (name {', '.join(sorted(VALUES_OF[module]))} one by one)"
    if module == "io" and item in SYSTEM_IO:
        return f"uses `std::io::{item}`"
    return None


def breaches_of_protocol(code):
    """Yields (line, reason) for the code of a protocol crate, comments and tests already gone."""
    line_of = lambda index: code.count("\n", 0, index) + 1
    without_uses = code
    for use in re.finditer(r"\buse\s+([^;]+);", code):
        for path in use_paths(use.group(1)):
            if path and (reason := reason_against(path)):
                yield line_of(use.start()), reason
        blank = re.sub(r"[^\n]", " ", use.group())
        without_uses = without_uses[: use.start()] + blank + without_uses[use.end() :]
    roots = "|".join(sorted(SYSTEM_CRATES | {"std"}))
    for found in re.finditer(rf"(?<![\w:])(?:::)?((?:{roots})(?:::\w+)+)", without_uses):
        if reason := reason_against(found.group(1).split("::")):
            yield line_of(found.start()), reason
    for pattern, what in (
        (RANDOM_NAMES, "the system's randomness"),
        (RANDOM_PATHS, "the system's randomness"),
        (RANDOM_MAPS, "a hasher that the system seeds"),
        (CLOCK_READS, "a clock"),
    ):
        for found in pattern.finditer(code):
            yield line_of(found.start()), f"uses {what}: `{found.group()}`"


def rust_files(root, folder="."):
    for directory, names, files in os.walk(Path(root) / folder):
        names[:] = sorted(name for name in names if name not in ("target", "node_modules") and not name.startswith("."))
        for name in sorted(files):
            if name.endswith(".rs"):
                yield Path(directory, name).relative_to(root)


def is_under(path, folders):
    return any(Path(folder) in path.parents for folder in folders)


def check_protocol_sources(root):
    for crate in PROTOCOL_CRATES:
        codes, test_files = {}, set()
        for path in rust_files(root, crate):
            code = strip_comments_and_strings((Path(root) / path).read_text())
            for found in re.finditer(r"\btowline_io\b", code):
                yield f"{path}:{code.count(chr(10), 0, found.start()) + 1}: uses `towline_io`, which even tests may not"
            if Path(crate, "src") not in path.parents:
                continue
            codes[path], modules = strip_tests(code)
            own = path.parent if path.name in ("lib.rs", "main.rs", "mod.rs") else path.with_suffix("")
            test_files.update(own / module for module in modules)
        for path, code in codes.items():
            if any(path.with_suffix("") == test or test in path.parents for test in test_files):
                continue
            for line, reason in breaches_of_protocol(code):
                if "towline_io" not in reason:
                    yield f"{path}:{line}: {reason}"


def check_unsafe(root):
    for path in rust_files(root):
        if is_under(path, UNSAFE_CRATES):
            continue
        code = strip_comments_and_strings((Path(root) / path).read_text())
        is_test = {"tests", "benches"} & set(path.parts)
        if is_test and re.search(r"\bunsafe\s+impl\s+GlobalAlloc\s+for\b", code):
            continue
        for found in re.finditer(r"\bunsafe\b", code):
            yield f"{path}:{code.count(chr(10), 0, found.start()) + 1}: `unsafe` outside {', '.join(UNSAFE_CRATES)}"
        if path.parent.name == "src" and path.name in ("lib.rs", "main.rs"):
            if not re.search(r"#!\[forbid\([^)]*\bunsafe_code\b", code):
                yield f"{path}: lacks #![forbid(unsafe_code)]"


def check_edges(packages):
    for package in sorted(packages, key=lambda package: package["name"]):
        name = package["name"]
        if name not in ARROWS:
            yield f"{package['manifest_path']}: `{name}` has no place in ARROWS of scripts/check_layers.py"
            continue
        for dependency in package["dependencies"]:
            other = dependency["name"]
            if (other in ARROWS or other.startswith("towline")) and other not in ARROWS[name] | {name}:
                kind = f" ({dependency['kind']})" if dependency["kind"] else ""
                yield f"{package['manifest_path']}: `{name}` may not use `{other}`{kind}"


def read_packages(root, manifest):
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked", "--manifest-path", manifest]
    return json.loads(subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout)["packages"]


def main():
    root = Path(__file__).resolve().parent.parent
    packages = [package for manifest in MANIFESTS for package in read_packages(root, manifest)]
    found = [*check_edges(packages), *check_protocol_sources(root), *check_unsafe(root)]
    for breach in found:
        print(breach)
    print(f"layers: {len(packages)} crates, {len(found)} breaches")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
