"""A Ray cluster of this machine, on its loopback address."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bulk.made import environment

_READY = b"Ray runtime started"
_TRIES = 5


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """A head without cores, and nodes of one core each, which may be killed."""

    def __init__(self, folder: Path, token: str | None = "a" * 64, host: str = "127.0.0.1") -> None:
        self._host = host
        self.address = f"{host}:{free_port()}"
        self.token = folder / "token"
        self.home = folder / "home"
        self.home.mkdir()
        self.log = folder / "log"
        self._log = self.log.open("wb")
        more = {"RAY_USAGE_STATS_ENABLED": "0", "HOME": str(self.home), "RAY_AUTH_MODE": "disabled"}
        more["RAY_worker_niceness"] = "0"  # of 15, nothing is left where the machine is busy
        if token:
            self.token.touch(mode=0o600)
            self.token.write_text(token)
            more |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token)}
        # A socket's path is short: not below the test's own folder.
        self._temporary = tempfile.mkdtemp(prefix="ray-")
        self._environment = environment(**more)
        port = self.address.partition(":")[2]
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.head = self._started("--head", f"--port={port}", "--include-dashboard=false", "--num-cpus=0")

    def add_node(self, host: str = "", within: tuple[str, ...] = ()) -> None:
        """Add a node of one core; one after the other, as two at once have taken each other's ports.

        ``host`` is its address where it is another one, ``within`` the command that starts it in another namespace.
        """
        self.nodes.append(
            self._started(f"--address={self.address}", "--num-cpus=1", host=host, within=within)
        )

    def _started(self, *words: str, host: str = "", within: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start a head or a node. Ray gives up after 30 seconds, which a busy machine needs: then once more."""
        for _ in range(_TRIES):
            before = self.log.read_bytes().count(_READY)
            process = self._start([*words, f"--node-ip-address={host or self._host}"], within)
            while process.poll() is None:
                if self.log.read_bytes().count(_READY) > before:
                    return process
                time.sleep(0.1)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(self.log.read_text()[-4000:])

    def _start(self, words: list[str], within: tuple[str, ...]) -> subprocess.Popen[bytes]:
        more = ["--temp-dir", self._temporary] if "--head" in words else []
        command = [*within, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *words, *more]
        command += ["--object-store-memory=80000000", "--disable-usage-stats"]
        return subprocess.Popen(
            command, env=self._environment, stdout=self._log, stderr=self._log, start_new_session=True
        )

    def stop(self) -> None:
        for process in (*self.nodes, self.head):
            end(process)
        self._log.close()
        import shutil

        shutil.rmtree(self._temporary, ignore_errors=True)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a node at once: all its processes."""
    for pid in tree(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(n) for n in (task / "children").read_text().split()]
    return found


@contextlib.contextmanager
def cluster(
    folder: Path, token: str | None = "a" * 64, nodes: int = 1, host: str = "127.0.0.1"
) -> Iterator[Cluster]:
    folder.mkdir()
    found = Cluster(folder, token, host)
    try:
        for _ in range(nodes):
            found.add_node()
        yield found
    finally:
        found.stop()
