#!/usr/bin/env python3
"""Shows that check_layers.py fails on what it must not let through, and passes what it must."""

import tempfile
import unittest
from pathlib import Path

import check_layers


def repository(files):
    """A folder that holds these files, as {path: text}."""
    folder = tempfile.TemporaryDirectory()
    for path, text in files.items():
        target = Path(folder.name, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return folder


def protocol_breaches(source, path="dataplane/wire/src/sample.rs", **more):
    with repository({path: source, **more}) as root:
        return list(check_layers.check_protocol_sources(root))


def unsafe_breaches(path, source):
    with repository({path: source}) as root:
        return list(check_layers.check_unsafe(root))


class ProtocolSources(unittest.TestCase):
    def assert_refused(self, *sources):
        for source in sources:
            self.assertTrue(protocol_breaches(source), f"not refused: {source}")

    def assert_allowed(self, *sources):
        for source in sources:
            self.assertEqual(protocol_breaches(source), [], f"refused: {source}")

    def test_sockets_files_and_threads_are_refused(self):
        self.assert_refused(
            "use std::net::TcpStream;",
            "use std::net::{IpAddr, UdpSocket};",
            "use std::{fmt, net::TcpListener};",
            "use std::net;",
            "use std::net::*;",
            "use std::os::fd::OwnedFd;",
            "fn f() { std::fs::read(path) }",
            "fn f() { ::std::thread::sleep(d) }",
            "fn f() { std::env::var(name) }",
            "fn f() { std::io::stdin() }",
            "use std as everything;",
        )

    def test_clocks_are_refused(self):
        self.assert_refused(
            "use std::time::Instant;",
            "use std::time::{Duration, SystemTime};",
            "use std::time;",
            "fn f() { Instant::now() }",
            "fn f() { UnixTime::now() }",
            "fn f() { OffsetDateTime::now_utc() }",
        )

    def test_runtimes_and_system_crates_are_refused(self):
        self.assert_refused(
            "use tokio::net::TcpStream;",
            "fn f() { tokio::spawn(g()) }",
            "use libc::c_int;",
            "use ::socket2::Socket;",
            "fn f() { getrandom::fill(b) }",
        )

    def test_the_randomness_of_the_system_is_refused(self):
        self.assert_refused(
            "use crypto_box::aead::OsRng;",
            "use aws_lc_rs::rand::SystemRandom;",
            "fn f() { aws_lc_rs::rand::fill(b) }",
            "fn f() { rand::rng() }",
            "fn f() { let m = HashMap::new(); }",
            "fn f() { let m = HashSet::<u8>::with_capacity(3); }",
        )

    def test_address_types_durations_and_seeded_maps_are_allowed(self):
        self.assert_allowed(
            "use std::net::{IpAddr, Ipv4Addr, SocketAddr};",
            "use core::net::SocketAddr;",
            "use std::time::Duration;",
            "fn f(a: std::net::IpAddr) -> std::time::Duration { g(a) }",
            "use std::{collections::HashMap, io, sync::Arc};",
            "fn f() { let m = HashMap::with_hasher(keyed); }",
            "fn f(now: Time) { self.now = now; }",
        )

    def test_comments_and_strings_are_not_code(self):
        self.assert_allowed(
            "/// Never calls `std::net::TcpStream`. /* nor tokio::spawn */",
            "/* outer /* use std::fs; */ use std::net::TcpStream; */ fn f() {}",
            'const WHAT: &str = "use std::fs; \\" std::thread";',
            'const WHAT: &str = r#"a " use std::fs;"#;',
        )
        self.assert_refused('const QUOTE: char = \'"\'; use std::fs; const OTHER: char = \'"\';')

    def test_code_under_cfg_test_is_exempt_and_code_after_it_is_not(self):
        self.assert_allowed(
            "#[cfg(test)]\nmod tests { use std::net::TcpStream; fn f() { Instant::now(); } }",
            "#[cfg(test)]\nuse std::{fs, thread};",
        )
        self.assert_refused("#[cfg(test)]\nmod tests { fn f() {} }\nuse std::fs;")
        self.assert_refused("#[cfg(test)]\nuse std::thread;\nuse std::fs;")

    def test_a_test_module_in_its_own_file_is_exempt(self):
        tests = {"dataplane/wire/src/sample/tests.rs": "use std::fs;"}
        self.assertEqual(protocol_breaches("#[cfg(test)]\nmod tests;", **tests), [])
        self.assertEqual(len(protocol_breaches("mod tests;", **tests)), 1)

    def test_what_only_fuzz_targets_build_is_exempt(self):
        self.assert_allowed(
            '#[cfg(feature = "fuzzing")]\nfn f() { Instant::now(); }',
            '#[cfg(any(test, feature = "fuzzing"))]\nuse std::fs;',
        )
        self.assert_refused('#[cfg(feature = "other")]\nuse std::fs;')

    def test_our_io_is_refused_even_in_tests(self):
        self.assert_refused("#[cfg(test)]\nmod tests { use towline_io::Driver; }")
        self.assertTrue(protocol_breaches("use towline_io::Driver;", path="dataplane/derp/tests/whole.rs"))

    def test_a_breach_names_its_file_and_line(self):
        self.assertEqual(
            protocol_breaches("// one\n\nuse std::fs;\n"),
            ["dataplane/wire/src/sample.rs:3: uses `std::fs`"],
        )

    def test_other_crates_may_use_the_system(self):
        self.assertEqual(protocol_breaches("use std::net::TcpStream;", path="dataplane/relay/src/lib.rs"), [])


class Unsafe(unittest.TestCase):
    FORBID = "#![forbid(unsafe_code)]\n"

    def test_unsafe_is_refused_outside_the_system_crates(self):
        block = "fn f() { unsafe { g() } }"
        self.assertTrue(unsafe_breaches("dataplane/relay/src/shard.rs", block))
        self.assertEqual(unsafe_breaches("dataplane/io/src/ring.rs", block), [])
        self.assertEqual(unsafe_breaches("ebpf/src/load.rs", block), [])

    def test_a_counting_allocator_is_allowed_in_tests_only(self):
        allocator = "unsafe impl GlobalAlloc for Counting { unsafe fn alloc(&self) {} }"
        self.assertEqual(unsafe_breaches("dataplane/derp/tests/allocations.rs", allocator), [])
        self.assertTrue(unsafe_breaches("dataplane/derp/src/allocations.rs", allocator))
        self.assertTrue(unsafe_breaches("dataplane/derp/tests/other.rs", "fn f() { unsafe { g() } }"))

    def test_crate_roots_forbid_it(self):
        self.assertEqual(unsafe_breaches("dataplane/wire/src/lib.rs", self.FORBID), [])
        self.assertTrue(unsafe_breaches("dataplane/wire/src/lib.rs", "//! forbid(unsafe_code) is missing\n"))
        self.assertTrue(unsafe_breaches("cli/src/main.rs", "fn main() {}\n"))
        self.assertEqual(unsafe_breaches("dataplane/io/src/lib.rs", "pub mod ring;\n"), [])


class Edges(unittest.TestCase):
    def breaches(self, name, dependency, kind=None):
        package = {"name": name, "manifest_path": "Cargo.toml"}
        package["dependencies"] = [{"name": dependency, "kind": kind}]
        return list(check_layers.check_edges([package]))

    def test_only_the_arrows_are_allowed(self):
        self.assertEqual(self.breaches("towline-derp", "towline-wire"), [])
        self.assertEqual(self.breaches("towline-derp", "thiserror"), [])
        self.assertTrue(self.breaches("towline-wire", "towline-derp"))
        self.assertTrue(self.breaches("towline-io", "towline-wire"))
        self.assertTrue(self.breaches("towline-derp", "towline-io"))

    def test_tests_have_no_arrows_of_their_own(self):
        self.assertTrue(self.breaches("towline-derp", "towline-io", kind="dev"))

    def test_a_new_crate_needs_a_place(self):
        self.assertTrue(self.breaches("towline-new", "thiserror"))
        self.assertTrue(self.breaches("towline-derp", "towline-new"))


if __name__ == "__main__":
    unittest.main()
