#!/usr/bin/env python3
"""`towline wg` against the real tools and the other implementations, on hosts made of namespaces. Needs root.

    scripts/lab/wg_test.py            everything
    scripts/lab/wg_test.py -k roam    what has "roam" in its name

The binary is target/release/towline, or $TOWLINE. The peers come from scripts/peers.sh wireguard.
"""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

from lab import CONTROL, Interface, Lab, implementation, ping, private_key, public_key, run, tunnel

PEERS = ["wireguard-go", "boringtun-cli", "gotatun-cli"]
TRANSFER_BYTES = 5_000_000


def transfer(sender, receiver, address, port=7000, count=TRANSFER_BYTES):
    """Sends bytes over TCP; whether they arrived unchanged."""
    sink = "import socket,hashlib;s=socket.create_server(('%s',%d),family=socket.AF_INET6 if ':' in '%s' else socket.AF_INET);print('ready',flush=True);c,_=s.accept();h=hashlib.sha256()\nwhile b:=c.recv(1<<20):h.update(b)\nprint(h.hexdigest())"
    source = "import socket,random,hashlib;b=random.Random(1).randbytes(%d);c=socket.create_connection(('%s',%d),20);c.sendall(b);c.close();print(hashlib.sha256(b).hexdigest())"
    sinking = receiver.start(sys.executable, "-c", sink % (address, port, address), stdout=subprocess.PIPE, text=True)
    try:
        assert sinking.stdout.readline() == "ready\n"
        sent = sender.run(sys.executable, "-c", source % (count, address, port)).strip()
        got, _ = sinking.communicate(timeout=30)
        return got.strip() == sent
    finally:
        sinking.kill()
        sinking.wait()
        sinking.stdout.close()


class Traffic(unittest.TestCase):
    """Packets get through, whoever is at the other end."""

    def check_both_ways(self, left, right, **options):
        with Lab() as lab, tunnel(lab, left, right, **options) as (a, b):
            for near in (lab.a, lab.b):
                far = lab.other(near)
                self.assertEqual(ping(near, far.inner4), 3)
                self.assertEqual(ping(near, far.inner6), 3)
                self.assertTrue(transfer(near, far, far.inner4))
                self.assertTrue(transfer(near, far, far.inner6, port=7001))

    def test_with_each_peer_over_ipv4_and_ipv6(self):
        for peer in ["towline", *PEERS]:
            for family in (4, 6):
                with self.subTest(peer=peer, family=family):
                    self.check_both_ways("towline", peer, family=family)

    def test_the_peer_begins_the_handshake(self):
        for peer in PEERS:
            with self.subTest(peer=peer), Lab() as lab, tunnel(lab, "towline", peer) as (_, b):
                self.assertEqual(ping(lab.b, lab.a.inner4), 3)

    def test_with_each_driver_engine_and_without_offloads(self):
        for words in [
            "--io uring",
            "--io epoll",
            "--engine boringtun",
            "--tun-offload none",
            "--udp-offload none",
            "--tun-offload none --udp-offload none",
            "--tun-offload checksum,tso --udp-offload gso",
        ]:
            with self.subTest(words):
                self.check_both_ways(f"towline {words}", "towline")

    def test_preshared_keys(self):
        key = run("wg", "genpsk").strip()
        for peer in ["towline", *PEERS]:
            with self.subTest(peer=peer), Lab() as lab, tunnel(lab, "towline", peer, psk=key) as (a, b):
                self.assertEqual(ping(lab.a, lab.b.inner4), 3)
                (a.folder / "psk").write_text(run("wg", "genpsk"))
                a.set("peer", b.public, "preshared-key", a.folder / "psk")
                a.set("peer", b.public, "remove")
                a.set("peer", b.public, "preshared-key", a.folder / "psk", "endpoint", f"{lab.b.address4}:51821", "allowed-ips", f"{lab.b.inner4}/32")
                self.assertEqual(ping(lab.a, lab.b.inner4, count=1), 0, "another preshared key is another lock")

    def test_small_paths_and_large_packets(self):
        with Lab(mtu=1400) as lab, tunnel(lab, "towline", "towline") as _:
            self.assertEqual(ping(lab.a, lab.b.inner4, size=1392), 3, "datagrams beyond the path's MTU are fragmented")
            self.assertEqual(ping(lab.a, lab.b.inner4, size=20_000), 3)
            self.assertTrue(transfer(lab.a, lab.b, lab.b.inner4))
            for host, interface in ((lab.a, lab.a.interface), (lab.b, lab.b.interface)):
                host.run("ip", "link", "set", interface, "mtu", 1280)
            self.assertTrue(transfer(lab.a, lab.b, lab.b.inner6, port=7001))

    def test_a_packet_too_large_for_a_datagram_is_dropped(self):
        for driver in ("uring", "epoll"):
            with self.subTest(driver), Lab() as lab, tunnel(lab, f"towline --io {driver}", "towline") as _:
                for host in (lab.a, lab.b):
                    host.run("ip", "link", "set", host.interface, "mtu", 65_535)
                self.assertEqual(ping(lab.a, lab.b.inner4, size=65_400), 3)
                for size in (65_447, 65_480):
                    self.assertEqual(ping(lab.a, lab.b.inner4, size=size, count=1), 0)
                self.assertEqual(ping(lab.a, lab.b.inner4), 3, "and nothing else is hurt")

    def test_a_packet_to_nobody_costs_nobody(self):
        with Lab() as lab, tunnel(lab, "towline", "towline") as _:
            self.assertEqual(ping(lab.a, "10.9.0.99", count=1), 0)
            self.assertEqual(ping(lab.a, lab.b.inner4), 3)

    def test_nothing_readable_and_only_padded_sizes_cross_the_network(self):
        secret = "a-word-that-nobody-may-read"
        with Lab() as lab, tunnel(lab, "towline", "towline") as _, tempfile.TemporaryDirectory() as folder:
            capture = Path(folder) / "capture"
            dump = lab.b.start("tcpdump", "-i", "eth0", "-U", "-w", capture, "udp", stderr=subprocess.PIPE, text=True)
            dump.stderr.readline()
            for size in range(0, 200, 7):
                ping(lab.a, lab.b.inner4, count=1, size=size)
            pattern = secret.encode().hex()[:32]
            lab.a.run("ping", "-c", 2, "-p", pattern, "-s", 500, lab.b.inner4)
            time.sleep(0.3)
            dump.send_signal(signal.SIGINT)
            dump.communicate(timeout=10)
            self.assertNotIn(secret.encode()[:16], capture.read_bytes())
            said = run("tcpdump", "-n", "-r", capture)
            sizes = [int(line.rsplit(" ", 1)[-1]) for line in said.splitlines() if "length" in line]
            data = [size for size in sizes if size not in (148, 92)]
            self.assertGreater(len(data), 30)
            self.assertEqual({size % 16 for size in data}, {0}, sizes)


class Roaming(unittest.TestCase):
    def flow(self, lab, seconds=4):
        """Pings 50 times a second; gives the process, whose summary tells how many came back."""
        count = seconds * 50
        return lab.a.start("ping", "-n", "-q", "-i", "0.02", "-c", count, lab.b.inner4, stdout=subprocess.PIPE, text=True), count

    def received(self, flow):
        said, _ = flow.communicate(timeout=30)
        return int(said.split(" received")[0].rsplit(" ", 1)[-1])

    def test_the_source_port_changes_in_mid_flow(self):
        for peer in ["towline", *PEERS]:
            with self.subTest(peer=peer), Lab() as lab, tunnel(lab, "towline", peer) as (a, b):
                self.assertEqual(ping(lab.a, lab.b.inner4), 3)
                flow, count = self.flow(lab)
                for port in (40_001, 40_002, 40_003):
                    time.sleep(0.8)
                    a.set("listen-port", port)
                self.assertGreaterEqual(self.received(flow), count - 6)
                self.assertIn(":40003", b.show("endpoints"))

    def test_the_address_changes_in_mid_flow(self):
        with Lab() as lab, tunnel(lab, "towline", "towline") as (a, b):
            self.assertEqual(ping(lab.a, lab.b.inner4), 3)
            flow, count = self.flow(lab)
            time.sleep(1)
            # Otherwise the second address of a network goes with the first.
            lab.a.run("sysctl", "-q", "net.ipv4.conf.eth0.promote_secondaries=1")
            lab.a.run("ip", "address", "add", "192.0.2.77/24", "dev", "eth0")
            lab.a.run("ip", "address", "del", "192.0.2.1/24", "dev", "eth0")
            self.assertGreaterEqual(self.received(flow), count - 10, "the address that disappeared is forgotten")
            self.assertIn("192.0.2.77:", b.show("endpoints"))

    def test_answers_leave_from_the_address_that_was_asked(self):
        with Lab() as lab, tunnel(lab, "towline", "towline") as (a, b):
            lab.b.run("ip", "address", "add", "192.0.2.50/24", "dev", "eth0")
            a.set("peer", b.public, "endpoint", "192.0.2.50:51821")
            self.assertEqual(ping(lab.a, lab.b.inner4), 3)
            self.assertIn("192.0.2.50:", a.show("endpoints"), "an answer from elsewhere would have moved it")

    def test_strangers_move_nothing(self):
        with Lab() as lab, tunnel(lab, "towline", "towline") as (a, b):
            self.assertEqual(ping(lab.a, lab.b.inner4), 3)
            before = b.show("endpoints")
            lab.a.run("ip", "address", "add", "192.0.2.66/24", "dev", "eth0")
            junk = """
import os,random,socket,struct
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('192.0.2.66',0))
r=random.Random(7)
for n in range(20000):
    kind=r.choice([0,1,2,3,4,4,4,200]); size=r.choice([0,1,4,15,16,31,32,64,92,148,1452,9000,60000])
    s.sendto((struct.pack('<I',kind)+r.randbytes(size))[:size],('192.0.2.2',51821))
"""
            lab.a.run(sys.executable, "-c", junk)
            self.assertEqual(b.show("endpoints"), before)
            self.assertEqual(ping(lab.a, lab.b.inner4), 3)


class Configuration(unittest.TestCase):
    """The ordinary tools."""

    def test_what_is_set_is_shown(self):
        psk = run("wg", "genpsk").strip()
        with Lab() as lab, Interface(lab.a, "towline") as a, tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "psk").write_text(psk)
            one, two = public_key(private_key()), public_key(private_key())
            a.set("private-key", a.folder / "key", "listen-port", 1234, "fwmark", "0x20")
            a.set("peer", one, "preshared-key", Path(folder) / "psk", "endpoint", "[2001:db8::7]:77", "persistent-keepalive", 25, "allowed-ips", "10.0.0.0/8,fd00::/8")
            a.set("peer", two, "allowed-ips", "10.1.0.0/16")
            rows = [line.split("\t") for line in a.show("dump").splitlines()]
            self.assertEqual(rows[0], [a.key, a.public, "1234", "0x20"])
            found = {row[0]: row[1:] for row in rows[1:]}
            self.assertEqual(found[one], [psk, "[2001:db8::7]:77", "10.0.0.0/8,fd00::/8", "0", "0", "0", "25"])
            self.assertEqual(found[two], ["(none)", "(none)", "10.1.0.0/16", "0", "0", "0", "off"])
            a.set("peer", two, "allowed-ips", "10.0.0.0/8")
            self.assertIn(f"{one}\tfd00::/8\n", a.show("allowed-ips") + "\n", "a range moves from peer to peer")
            a.set("peer", one, "remove")
            self.assertEqual(a.show("peers"), two)

    def test_setconf_addconf_and_syncconf(self):
        with Lab() as lab, Interface(lab.a, "towline") as a, tempfile.TemporaryDirectory() as folder:
            conf = Path(folder) / "wg.conf"
            keys = [public_key(private_key()) for _ in range(3)]
            peers = [f"[Peer]\nPublicKey = {key}\nAllowedIPs = 10.0.{n}.0/24\n" for n, key in enumerate(keys)]
            head = f"[Interface]\nPrivateKey = {a.key}\nListenPort = 5555\n"
            conf.write_text(head + peers[0] + peers[1])
            lab.a.run("wg", "setconf", a.name, conf)
            self.assertEqual(set(a.show("peers").split()), set(keys[:2]))
            conf.write_text(peers[2])
            lab.a.run("wg", "addconf", a.name, conf)
            self.assertEqual(set(a.show("peers").split()), set(keys))
            conf.write_text(head + peers[1])
            lab.a.run("wg", "syncconf", a.name, conf)
            self.assertEqual(a.show("peers").split(), [keys[1]])
            self.assertIn("ListenPort = 5555", lab.a.run("wg", "showconf", a.name))

    def test_many_peers(self):
        with Lab() as lab, Interface(lab.a, "towline") as a, tempfile.TemporaryDirectory() as folder:
            conf = Path(folder) / "wg.conf"
            import base64

            keys = [base64.b64encode(os.urandom(31) + b"\0").decode() for _ in range(3000)]
            conf.write_text("".join(f"[Peer]\nPublicKey = {key}\nAllowedIPs = 10.{n >> 8}.{n & 255}.0/32\n" for n, key in enumerate(keys)))
            lab.a.run("wg", "setconf", a.name, conf)
            self.assertEqual(set(a.show("peers").split()), set(keys))

    def test_port_and_mark_change_while_it_is_up(self):
        with Lab() as lab, tunnel(lab, "towline", "towline") as (a, b):
            self.assertEqual(ping(lab.a, lab.b.inner4), 3)
            a.set("fwmark", 51820)
            self.assertEqual((a.show("fwmark"), a.show("listen-port")), ("0xca6c", "51820"))
            lab.a.run("nft", "add table inet lab; add chain inet lab out { type filter hook output priority 0; }; add rule inet lab out meta mark 51820 drop")
            self.assertEqual(ping(lab.a, lab.b.inner4, count=1), 0, "datagrams have the mark")
            lab.a.run("nft", "delete table inet lab")
            a.set("listen-port", 0)
            self.assertNotIn(a.show("listen-port"), ("0", "51820"))
            self.assertEqual(ping(lab.a, lab.b.inner4), 3)
            self.assertIn(f":{a.show('listen-port')}", b.show("endpoints"))

    def test_every_one_of_many_peers_is_called(self):
        with Lab() as lab, Interface(lab.a, "towline") as a, tempfile.TemporaryDirectory() as folder:
            a.up()
            conf = Path(folder) / "wg.conf"
            keys = [public_key(private_key()) for _ in range(200)]
            peers = (f"[Peer]\nPublicKey = {key}\nEndpoint = {lab.b.address4}:{n + 1000}\nPersistentKeepalive = 20\n" for n, key in enumerate(keys))
            count = "import socket\nwith open('/proc/self/comm'):pass\n"
            dump = lab.b.start("tcpdump", "-n", "-i", "eth0", "-c", 200, "udp and portrange 1000-1199", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            dump.stderr.readline()
            conf.write_text(f"[Interface]\nPrivateKey = {a.key}\n" + "".join(peers))
            lab.a.run("wg", "setconf", a.name, conf)
            try:
                said, _ = dump.communicate(timeout=4)
            finally:
                dump.kill()
            ports = {line.split(" > ")[1].split(":")[0].rsplit(".", 1)[1] for line in said.splitlines() if " > " in line}
            self.assertEqual(len(ports), 200)

    def test_a_port_that_is_taken_is_an_error_and_changes_nothing(self):
        with Lab() as lab, tunnel(lab, "towline", "towline") as (a, _):
            taken = lab.a.start(sys.executable, "-c", "import socket,time;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.bind(('',4444));print('x',flush=True);time.sleep(30)", stdout=subprocess.PIPE)
            taken.stdout.readline()
            try:
                with self.assertRaisesRegex(RuntimeError, "in use"):
                    a.set("listen-port", 4444)
                self.assertEqual(a.show("listen-port"), "51820")
                self.assertEqual(ping(lab.a, lab.b.inner4), 3)
            finally:
                taken.kill()
                taken.communicate()

    def test_nonsense_on_the_control_socket_is_answered_and_harmless(self):
        with Lab() as lab, Interface(lab.a, "towline") as a:
            for text in ["get=2\n\n", "set=1\nfoo=bar\n\n", "set=1\nprivate_key=zz\n\n", "set=1\nlisten_port=70000\n\n", "hello\n\n", "set=1\n" + "x" * 100_000, "\n\n\n", "\0\xff\n\n"]:
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(5)
                    s.connect(str(CONTROL / f"{a.name}.sock"))
                    s.sendall(text.encode("latin-1"))
                    s.shutdown(socket.SHUT_WR)
                    said = b""
                    try:
                        while more := s.recv(4096):
                            said += more
                    except ConnectionResetError:
                        pass
                    self.assertNotIn(b"errno=0", said, text[:40])
            self.assertIn("interface", a.show())


class Life(unittest.TestCase):
    def socket(self, interface):
        return CONTROL / f"{interface}.sock"

    def test_it_leaves_with_its_interface(self):
        with Lab() as lab, Interface(lab.a, "towline") as a:
            a.up()
            lab.a.run("ip", "link", "del", a.name)
            self.assertEqual(a.process.wait(5), 0)
            self.assertFalse(self.socket(a.name).exists())

    def test_sigterm_removes_everything(self):
        with Lab() as lab, Interface(lab.a, "towline") as a:
            a.up()
            a.process.terminate()
            self.assertEqual(a.process.wait(5), 0)
            self.assertFalse(self.socket(a.name).exists())
            self.assertNotIn(a.name, lab.a.run("ip", "link"))

    def test_after_a_kill_it_starts_again(self):
        with Lab() as lab:
            for _ in range(5):
                with Interface(lab.a, "towline") as a:
                    a.up()
                    a.process.kill()
                    a.process.wait(5)
                    self.assertTrue(self.socket(a.name).exists())
            with Interface(lab.a, "towline") as a:
                a.up()

    def test_it_may_be_renamed(self):
        with Lab() as lab, tunnel(lab, "towline", "towline") as _:
            self.assertEqual(ping(lab.a, lab.b.inner4), 3)
            lab.a.run("ip", "link", "set", lab.a.interface, "down")
            lab.a.run("ip", "link", "set", lab.a.interface, "name", "elsewhere")
            lab.a.run("ip", "link", "set", "elsewhere", "up")
            self.assertEqual(ping(lab.a, lab.b.inner4), 3)

    def test_it_may_move_to_another_namespace_while_its_sockets_stay(self):
        for is_up in (True, False):
            with self.subTest(is_up=is_up), Lab() as lab, tunnel(lab, "towline", "towline") as (a, b):
                self.assertEqual(ping(lab.a, lab.b.inner4), 3)
                inside = lab.host("inside")
                if not is_up:
                    lab.a.run("ip", "link", "set", a.name, "down")
                lab.a.run("ip", "link", "set", a.name, "netns", inside.name)
                time.sleep(0.2)
                inside.run("ip", "address", "add", f"{lab.a.inner4}/24", "dev", a.name)
                inside.run("ip", "link", "set", a.name, "up")
                self.assertEqual(ping(inside, lab.b.inner4), 3, "nothing but the tunnel is in there")
                inside.run("ip", "link", "del", a.name)
                self.assertEqual(a.process.wait(5), 0)

    def test_a_second_one_is_refused(self):
        with Lab() as lab, Interface(lab.a, "towline") as a:
            second = subprocess.run(lab.a.command(*implementation("towline"), a.name), capture_output=True, text=True, timeout=10)
            self.assertEqual(second.returncode, 1)
            self.assertIn(a.name, second.stderr)
            self.assertIn("interface", a.show(), "and the first is as it was")

    def test_it_goes_to_the_background_and_answers_at_once(self):
        with Lab() as lab:
            binary = implementation("towline")[0]
            name = lab.a.interface
            try:
                # Whoever reads the output must not wait for the end of what stays.
                done = subprocess.run(lab.a.command(binary, "wg", name), capture_output=True, text=True, timeout=10)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
                self.assertIn(name, lab.a.run("wg", "show", name))
                again = subprocess.run(lab.a.command(binary, "wg", name), capture_output=True, text=True, timeout=10)
                self.assertEqual(again.returncode, 1)
                self.assertIn(name, again.stderr)
            finally:
                lab.a.run("ip", "link", "del", name)
            deadline = time.monotonic() + 5
            while self.socket(name).exists():
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)

    def test_wg_quick_up_and_down(self):
        for everything in (False, True):
            with self.subTest(everything=everything):
                self.check_wg_quick(everything)

    def check_wg_quick(self, everything):
        with Lab() as lab, tempfile.TemporaryDirectory() as folder, Interface(lab.b, "towline") as b:
            link = Path(folder) / "towline-wg"
            link.symlink_to(Path(implementation("towline")[0]).resolve())
            b.up(51821)
            key = private_key()
            b.set("peer", public_key(key), "allowed-ips", f"{lab.a.inner4}/32")
            conf = Path(folder) / f"{lab.a.interface}.conf"
            conf.write_text(f"""[Interface]
PrivateKey = {key}
Address = {lab.a.inner4}/24
MTU = 1400
[Peer]
PublicKey = {b.public}
AllowedIPs = {"0.0.0.0/0" if everything else f"{lab.b.inner4}/32"}
Endpoint = {lab.b.address4}:51821
PersistentKeepalive = 1
""")
            conf.chmod(0o600)
            environment = {**os.environ, "WG_QUICK_USERSPACE_IMPLEMENTATION": str(link)}
            quick = lambda verb: subprocess.run(lab.a.command("wg-quick", verb, conf), capture_output=True, text=True, timeout=30, env=environment)
            done = quick("up")
            try:
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(ping(lab.a, lab.b.inner4), 3)
            finally:
                done = quick("down")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn(lab.a.interface, lab.a.run("ip", "link"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
