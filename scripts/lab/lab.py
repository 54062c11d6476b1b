"""Networks out of namespaces: two hosts, a cable between them, and a WireGuard interface on each.

Used by wg_test.py and by benches/compare/wg.py. Needs root. Everything that is made here has a name of its own for each
process, and goes with the block that made it, also when that fails.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
CONTROL = Path("/var/run/wireguard")
START_TIMEOUT_S = 10
STOP_TIMEOUT_S = 10


def run(*command, check=True, stdin=None):
    """Runs a command to its end; gives its output. What it says on stderr is in the error when it fails."""
    done = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, text=True, timeout=60)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def peer_path(name):
    """Where scripts/peers.sh keeps a program that we test against."""
    return run(REPO / "scripts" / "peers.sh", "path", name).strip()


def implementation(name):
    """The command that makes an interface in the foreground; the interface's name is its last word."""
    if name.startswith("towline"):
        binary = os.environ.get("TOWLINE", REPO / "target" / "release" / "towline")
        return [str(binary), "wg", "--foreground", *name.split()[1:]]
    if name == "wireguard-go":
        return [peer_path(name), "-f"]
    return [peer_path(name), "--foreground", "--disable-drop-privileges"]


class Host:
    """A network namespace."""

    def __init__(self, name):
        self.name = name
        self.interface = name.replace("-", "")[-13:]

    def command(self, *command):
        """A command as it runs on this host."""
        return ["ip", "netns", "exec", self.name, *map(str, command)]

    def run(self, *command, **options):
        return run(*self.command(*command), **options)

    def start(self, *command, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self.command(*command), **options)


class Lab:
    """Two hosts `a` and `b` with a cable between them: 192.0.2.1 and .2, 2001:db8::1 and ::2."""

    def __init__(self, mtu=1500):
        self.cleanup = contextlib.ExitStack()
        try:
            self.a, self.b = self.host("a"), self.host("b")
            cable = ["type", "veth", "peer", "name", "eth0", "netns", self.b.name]
            run("ip", "link", "add", "name", "eth0", "netns", self.a.name, *cable)
            for number, host in ((1, self.a), (2, self.b)):
                host.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
                host.run("ip", "address", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")
                host.run("ip", "link", "set", "eth0", "mtu", mtu, "up")
                host.address4, host.address6 = f"192.0.2.{number}", f"2001:db8::{number}"
                host.inner4, host.inner6 = f"10.9.0.{number}", f"fd09::{number}"
        except BaseException:
            self.cleanup.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cleanup.close()

    def host(self, name):
        """One more host, without a cable."""
        host = Host(f"tl{os.getpid()}-{name}")
        run("ip", "netns", "add", host.name)
        self.cleanup.callback(run, "ip", "netns", "del", host.name, check=False)
        host.run("ip", "link", "set", "lo", "up")
        return host

    def other(self, host):
        return self.b if host is self.a else self.a


def private_key():
    return run("wg", "genkey").strip()


def public_key(private):
    return run("wg", "pubkey", stdin=private).strip()


class Interface:
    """A WireGuard interface on a host, run by one of the implementations."""

    def __init__(self, host, name, cpu=None):
        self.host, self.name = host, host.interface
        self.key = private_key()
        self.public = public_key(self.key)
        self.folder = Path(tempfile.mkdtemp(prefix="lab-"))
        (self.folder / "key").write_text(self.key)
        self.log = open(self.folder / "log", "w+b")
        pin = ["taskset", "--cpu-list", str(cpu)] if cpu is not None else []
        self.process = host.start(
            *pin, *implementation(name), self.name, stdout=self.log, stderr=subprocess.STDOUT, env={**os.environ, "LOG_LEVEL": "error"}
        )
        try:
            self.await_start(name)
        except BaseException:
            self.close()
            raise

    def await_start(self, name):
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.host.run("wg", "show", self.name, check=False) == "":
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                raise RuntimeError(f"{name} did not start:\n{self.log.read().decode(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def set(self, *words):
        self.host.run("wg", "set", self.name, *words)

    def show(self, *words):
        return self.host.run("wg", "show", self.name, *words).strip()

    def up(self, port=51820, mtu=1420):
        self.set("private-key", self.folder / "key", "listen-port", port)
        self.host.run("ip", "address", "add", f"{self.host.inner4}/24", "dev", self.name)
        self.host.run("ip", "address", "add", f"{self.host.inner6}/64", "dev", self.name, "nodad")
        self.host.run("ip", "link", "set", self.name, "mtu", mtu, "up")

    def cpu_s(self):
        """Processor time of the process, all threads, user and kernel."""
        fields = Path(f"/proc/{self.pid()}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def pid(self):
        """`ip netns exec` becomes the command it runs."""
        return self.process.pid

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def tunnel(lab, left, right, family=4, psk=None, **options):
    """Interfaces on both hosts, by two implementations, as peers of each other."""
    with Interface(lab.a, left) as a, Interface(lab.b, right) as b:
        a.up(51820)
        b.up(51821)
        for near, far, port in ((a, b, 51821), (b, a, 51820)):
            address = far.host.address4 if family == 4 else f"[{far.host.address6}]"
            words = ["peer", far.public, "endpoint", f"{address}:{port}"]
            words += ["allowed-ips", f"{far.host.inner4}/32,{far.host.inner6}/128"]
            if psk:
                (near.folder / "psk").write_text(psk)
                words += ["preshared-key", near.folder / "psk"]
            near.set(*words)
        yield a, b


def ping(host, address, count=3, interval=0.2, size=56):
    """How many of `count` pings came back."""
    said = host.run("ping", "-n", "-q", "-c", count, "-i", interval, "-W", 2, "-s", size, address, check=False)
    return int(said.split(" received")[0].rsplit(" ", 1)[-1])
