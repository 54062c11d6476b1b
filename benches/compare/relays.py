"""Starts a relay as a process of its own, pinned to one CPU, and reads from the kernel what it used.

Two kinds, by derper's own command line, so that nothing but the program differs. Used by relay.py.
"""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

ADDRESS = "127.0.0.1"
START_TIMEOUT_S = 20
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return probe.getsockname()[1]


def make_certificate(folder):
    """An ECDSA P-256 certificate for our address, where both relays look for one."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        + ["-subj", f"/CN={ADDRESS}", "-addext", f"subjectAltName=IP:{ADDRESS}"]
        + ["-keyout", str(folder / f"{ADDRESS}.key"), "-out", str(folder / f"{ADDRESS}.crt")],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    (folder / f"{ADDRESS}.key").chmod(0o600)


class Relay:
    """A running relay. Use it as a context: it ends, and its files go, with the block."""

    def __init__(self, name, command, cpu, tls=True, environment=None):
        self.name, self.tls, self.port = name, tls, free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"bench-{name}-"))
        arguments = ["-a", f"{ADDRESS}:{self.port}", "-c", str(self.folder / "relay.key"), "-http-port", "-1", "-stun=false"]
        if tls:
            make_certificate(self.folder)
            arguments += ["-certmode", "manual", "-certdir", str(self.folder), "-hostname", ADDRESS]
        self.log = open(self.folder / "log", "w+b")
        self.process = subprocess.Popen(
            ["taskset", "--cpu-list", str(cpu), *command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        try:
            self.await_start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{ADDRESS}:{self.port}/derp"

    def await_start(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                self.page("/derp/probe")
                return
            except OSError:
                time.sleep(0.05)
        self.log.seek(0)
        raise RuntimeError(f"{self.name} does not answer:\n{self.log.read().decode(errors='replace')[-2000:]}")

    def page(self, path):
        """The body of a page of the relay."""
        with socket.create_connection((ADDRESS, self.port), timeout=5) as plain:
            connection = plain
            if self.tls:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                connection = context.wrap_socket(plain, server_hostname=ADDRESS)
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {ADDRESS}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer.partition(b"\r\n\r\n")[2].decode(errors="replace")

    def cpu_s(self):
        """CPU time that the process has used so far, in user space and in the kernel."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def resident_bytes(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"{self.name} has no resident memory")

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class NoQuota(Exception):
    """This machine lets us make no CPU quota."""


class CpuQuota:
    """Gives a process a share of one CPU (cgroup v1 or v2), so that it can be overloaded from the rest."""

    def __init__(self, process_id, share, period_us=10_000):
        v1 = Path("/sys/fs/cgroup/cpu")
        self.folder = (v1 if v1.is_dir() else Path("/sys/fs/cgroup")) / f"towline-bench-{process_id}"
        try:
            self.folder.mkdir()
            if v1.is_dir():
                (self.folder / "cpu.cfs_period_us").write_text(str(period_us))
                (self.folder / "cpu.cfs_quota_us").write_text(str(int(share * period_us)))
            else:
                (self.folder / "cpu.max").write_text(f"{int(share * period_us)} {period_us}")
            (self.folder / "cgroup.procs").write_text(str(process_id))
        except OSError as error:
            raise NoQuota(error) from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A group can be removed once the last process in it is gone.
        for _ in range(100):
            try:
                self.folder.rmdir()
                return
            except OSError:
                time.sleep(0.02)
