"""A real server in processes of its own, and small real exams to give it."""

from __future__ import annotations

import functools
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np

import ichor
from ichor.cli.demo import demo_exam
from ichor.reading.nifti import to_nifti_space

PATIENCE_S = 180.0


class Served:
    """``ichor serve`` on a free port, with its state in a folder that outlives it."""

    def __init__(self, state: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self.state = state
        self.options = options
        self.environment = environment or {}
        self.process: subprocess.Popen[str] | None = None
        self.url = ""
        self.log: list[str] = []
        self.closed = False

    def start(self, *, wait: bool = True) -> Served:
        command = [
            sys.executable,
            "-m",
            "ichor.cli",
            "serve",
            "--port",
            "0",
            "--state",
            str(self.state),
            *self.options,
        ]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._collect, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("ichor: http"):
            self._close()
            raise AssertionError(self.log)
        self.url = line.removeprefix("ichor: ").strip().rstrip("/")
        if wait:
            until(lambda: httpx.get(f"{self.url}/health/ready").status_code == 200, "the server to be ready")
        return self

    def _collect(self, stream: Any) -> None:
        for line in stream:
            self.log.append(line.rstrip("\n"))

    @property
    def worker(self) -> int:
        """Process id of the worker."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids = [
            int(p) for t in children.parent.parent.iterdir() for p in (t / "children").read_text().split()
        ]
        workers = [p for p in pids if b"ichor.jobs.worker" in Path(f"/proc/{p}/cmdline").read_bytes()]
        assert len(workers) == 1, workers
        return workers[0]

    def has_worker(self) -> bool:
        try:
            return bool(self.worker)
        except (AssertionError, FileNotFoundError, ProcessLookupError):
            return False

    def kill(self) -> None:
        """``kill -9`` of the web process."""
        assert self.process is not None
        self.process.kill()
        self._close()

    def kill_worker(self) -> None:
        os.kill(self.worker, signal.SIGKILL)

    def stop(self) -> int:
        """End it as Ctrl-C or a service manager does."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self._close()

    def _close(self) -> int:
        assert self.process is not None
        code = self.process.wait(30)
        self.closed = True
        self._reader.join(20)  # its pipe is open as long as a worker lives
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code

    def client(self, **more: Any) -> httpx.Client:
        return httpx.Client(base_url=f"{self.url}/api/v1", timeout=60, **more)

    def events(self) -> list[dict[str, Any]]:
        """Lines of the log that are events."""
        return [json.loads(line) for line in list(self.log) if line.startswith("{")]


def until(true: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if true():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


def submit(client: httpx.Client, *files: tuple[str, bytes], alias: str | None = None) -> dict[str, Any]:
    """Send files at once."""
    data = {"alias": alias} if alias else {}
    answer = client.post("/studies", files=[("files", f) for f in files], data=data)
    assert answer.status_code == 202, answer.text
    return answer.json()


def done(client: httpx.Client, study: str) -> dict[str, Any]:
    """Wait until a study is ready or refused, and all is written."""

    def is_done() -> bool:
        return client.get(f"/studies/{study}").json()["state"] in ("ready", "refused")

    until(is_done, "the study to be done")
    until(lambda: client.get(f"/studies/{study}/overlays.zip").status_code != 409, "the report")
    return client.get(f"/studies/{study}").json()


def listed(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    return client.get("/studies", params={"limit": 500, **query}).json()["items"]


def events(client: httpx.Client, after: int) -> Iterator[dict[str, Any]]:
    """What a page that comes back is told."""
    answer = client.get("/events", params={"once": True}, headers={"Last-Event-ID": str(after)})
    assert answer.status_code == 200
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            yield {"id": int(fields["id"]), "event": fields["event"], "data": json.loads(fields["data"])}


@functools.cache
def _demo() -> Any:
    return ichor.read(demo_exam())


@functools.cache
def exam(number: int = 0, *, bleed: bool = True) -> bytes:
    """A small NIfTI exam: every fifth slice of the simulated one; each number another study."""
    whole = _demo()
    slices = slice(2, None, 5)
    volume = whole.volume[slices].copy()
    if not bleed:
        volume = np.where((volume > 48) & (volume < 110), 33, volume).astype(np.int16)
    volume[0, :4, :64] = np.random.default_rng(number).integers(-1000, -900, (4, 64))
    geometry = whole.geometry
    kept = type(geometry)(
        geometry.positions[slices], geometry.row_direction, geometry.column_direction, geometry.spacing
    )
    _, affine = to_nifti_space(np.zeros(volume.shape, np.uint8), type(whole)(volume, kept, whole.source))
    image = nibabel.Nifti1Image(volume.transpose(2, 1, 0), affine)
    image.set_sform(affine, code="scanner")
    stream = io.BytesIO()
    image.to_file_map(
        {"image": nibabel.FileHolder(fileobj=stream), "header": nibabel.FileHolder(fileobj=stream)}
    )
    return stream.getvalue()
