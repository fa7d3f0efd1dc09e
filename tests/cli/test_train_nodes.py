"""One training on two machines: two network namespaces, or two addresses where those are not allowed."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra 'train'")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="has no network namespaces")

RECIPE = """
name: shared
description: a small network for a test
n_folds: 2
preparation: {rows: 64, columns: 64, channels: [{offset: 0, level: 40, width: 80}]}
model: {kind: classifier, backbone: cnn-8-16, pretrained: false, head: {kind: linear}}
sampling: {kind: plain, epoch_images: 8}
batch_size: 4
optimiser: {warmup_steps: 1}
epochs: 40
checkpoint_steps: 2
"""


@dataclass(frozen=True)
class Machine:
    """Where a process is started, and by which name it is reached."""

    prefix: tuple[str, ...]
    address: str
    interface: str


@pytest.fixture(scope="module")
def machines() -> Iterator[tuple[Machine, Machine]]:
    names = [f"ichor-{os.getpid()}-{k}" for k in range(2)]
    ends = [f"ic{os.getpid() % 10**8}{k}" for k in "ab"]
    addresses = ["10.213.7.1", "10.213.7.2"]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
            for name, end, address in zip(names, ends, addresses, strict=True):
                ip("link", "set", end, "netns", name)
                ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
                ip("-n", name, "link", "set", end, "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError):
            yield Machine((), "127.0.0.1", "lo"), Machine((), "127.0.0.2", "lo")
        else:
            first, second = (
                Machine(("ip", "netns", "exec", name), address, end)
                for name, end, address in zip(names, ends, addresses, strict=True)
            )
            yield first, second
    finally:
        for name in names:
            with contextlib.suppress(OSError):
                subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, bright in (("hemorrhage", 60), ("normal", 0)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for k in range(6):
            grey = rng.integers(0, 190, (80, 64)) + bright
            Image.fromarray(grey.astype(np.uint8)).save(tmp_path / "set" / name / f"{k}.png")
    (tmp_path / "shared.yaml").write_text(f"{RECIPE}target: folder:{tmp_path / 'set'}\n")
    options = [
        "--nodes",
        "2",
        "--accelerator",
        "cpu",
        "--weights",
        "none",
        "--workers",
        "0",
        "--threads",
        "1",
    ]
    return [
        "train",
        str(tmp_path / "shared.yaml"),
        *options,
        "--parts",
        "fold-0",
        "-o",
        str(tmp_path / "run"),
    ]


def started(
    machine: Machine, rank: int, first: Machine, port: int, command: list[str]
) -> subprocess.Popen[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    place = ["--node-rank", str(rank), "--master-addr", first.address, "--master-port", str(port)]
    return subprocess.Popen(
        [*machine.prefix, *torchrun, *place, "-m", "ichor.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            "GLOO_SOCKET_IFNAME": machine.interface,
            "OMP_NUM_THREADS": "1",
            "ICHOR_TEST_MACHINE": f"{port}-{rank}",
        },
    )


def kill(port: int, rank: int) -> None:
    """Kill all that runs on a machine: the launcher and what it launched, in whichever session."""
    mark = f"ICHOR_TEST_MACHINE={port}-{rank}".encode()
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def test_two_machines_train_a_fold_and_one_that_is_gone_ends_it_with_a_sentence(
    machines: tuple[Machine, Machine], command: list[str], tmp_path: Path
) -> None:
    def both(port: int) -> list[subprocess.Popen[str]]:
        return [started(m, k, machines[0], port, command) for k, m in enumerate(machines)]

    fold = tmp_path / "run" / "fold-0"
    port = free_port()
    first, second = both(port)
    end = time.monotonic() + 240
    while "\n30," not in (log.read_text() if (log := fold / "log.csv").exists() else ""):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)
    kill(port, 1)
    output, _ = first.communicate(timeout=240)
    second.communicate()
    assert first.returncode != 0
    assert output.count("ichor: training: found a process or machine gone, of 2 that share a batch") == 1
    assert "third_party/gloo" not in output  # what the library says
    assert not (fold / "predictions.csv").exists()

    outputs = [process.communicate(timeout=240)[0] for process in both(free_port())]
    assert "fold-0 40/" in outputs[0]
    assert "fold-0 10/" not in outputs[0]  # it went on from where it was
    assert "fold-0" not in outputs[1]
    with (fold / "predictions.csv").open(newline="") as file:
        rows = [(row["patient"], row["level"], row["slice"]) for row in csv.DictReader(file)]
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert len(rows) == len(set(rows))
    assert {row[0] for row in rows} == {name for name, k in split["folds"].items() if k == 0}
