"""Nothing leaves the machine: no socket but of the machine itself, no file but where one was asked for."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ichor.cli.demo import demo_exam

SYSTEM_CALLS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""By machine: the kernel's number of the architecture, and that of the system call ``socket``."""

GUARD = textwrap.dedent(
    """
    import ctypes, struct, sys

    def forbid_network(architecture, number):
        '''Let the kernel end this process, and all that it starts, when any thread opens a socket to elsewhere.'''
        LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
        ALLOW, KILL = 0x7FFF0000, 0x80000000
        program = [
            (LOAD, 0, 0, 4), (EQUAL, 0, 6, architecture),
            (LOAD, 0, 0, 0), (EQUAL, 0, 4, number),
            (LOAD, 0, 0, 16), (EQUAL, 1, 0, 2), (EQUAL, 0, 1, 10),  # AF_INET, AF_INET6
            (RETURN, 0, 0, KILL), (RETURN, 0, 0, ALLOW),
        ]
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
        class Program(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
        filter = Program(len(program), ctypes.cast(code, ctypes.c_void_p))
        libc = ctypes.CDLL(None, use_errno=True)
        for arguments in ((38, 1, 0, 0, 0), (22, 2, ctypes.byref(filter), 0, 0)):  # no new privileges, seccomp
            if libc.prctl(*arguments):
                sys.exit(77)

    forbid_network(*map(int, sys.argv[1:3]))
    del sys.argv[1:3]
    """
)
DETECT = "from ichor.cli import run; sys.argv[0] = 'ichor'; sys.exit(run(sys.argv[1:]))"
LONG_LIVED = textwrap.dedent(
    """
    import time, ichor
    exam = ichor.read(sys.argv[1])
    ichor.detect(exam)
    time.sleep(float(sys.argv[2]))
    ichor.detect(exam)
    """
)


def guarded(code: str, *arguments: str, home: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python that is ended as soon as it opens a socket to elsewhere, its home an empty folder."""
    if sys.platform != "linux" or platform.machine() not in SYSTEM_CALLS:
        pytest.skip("needs Linux on x86-64 or arm64: the kernel watches the sockets")
    known = ("CI", "GITHUB_ACTIONS", "BUILD_ID", "TF_BUILD", "XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY")
    scratch = cwd / "tmp"
    scratch.mkdir(exist_ok=True)
    env = {k: v for k, v in os.environ.items() if k not in known and not k.startswith("XDG_")}
    env |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(scratch)}
    env |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    numbers = [str(n) for n in SYSTEM_CALLS[platform.machine()]]
    done = subprocess.run(
        [sys.executable, "-c", GUARD + code, *numbers, *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
    )
    if done.returncode == 77:
        pytest.skip("this kernel lets no process watch its own sockets (seccomp)")
    return done


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_the_guard_sees_a_socket_of_any_thread(family: str, home: Path, cwd: Path) -> None:
    """The control: without it the tests below could not fail."""
    code = f"""
import socket, threading
thread = threading.Thread(target=lambda: socket.socket(socket.{family}, socket.SOCK_DGRAM))
thread.start()
thread.join()
"""
    done = guarded(code, home=home, cwd=cwd)
    assert done.returncode == -signal.SIGSYS
    assert guarded("import socket; socket.socket(socket.AF_UNIX)", home=home, cwd=cwd).returncode == 0


def test_the_command_opens_no_socket_and_writes_only_where_asked(home: Path, cwd: Path) -> None:
    shutil.copy(demo_exam(), cwd / "demo.zip")
    done = guarded(DETECT, "detect", "demo.zip", "-o", "out", home=home, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert json.loads((cwd / "out" / "demo" / "findings.json").read_text())["assessable"]
    assert sorted(p.name for p in cwd.iterdir()) == ["demo.zip", "out", "tmp"]
    assert list((cwd / "tmp").iterdir()) == []
    assert list(home.iterdir()) == []


def test_a_long_lived_process_opens_no_socket(home: Path, cwd: Path) -> None:
    """Telemetry goes out in the background, some seconds after a session was opened."""
    done = guarded(LONG_LIVED, str(demo_exam()), "15", home=home, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    "entrance",
    ["ichor", "ichor.cli", "ichor.detecting.sessions", "ichor.reading.isolation.child", "ichor.jobs.worker"],
)
def test_every_entrance_turns_telemetry_off_before_it_loads_onnx_runtime(entrance: str) -> None:
    if entrance == "ichor.jobs.worker":
        pytest.importorskip("sqlmodel", reason="needs the extra 'serve'")
    code = (
        "import builtins, os\n"
        "real = builtins.__import__\n"
        "def watched(name, *rest, **more):\n"
        "    assert not name.startswith('onnxruntime') or os.environ.get('ORT_DISABLE_TELEMETRY') == '1'\n"
        "    return real(name, *rest, **more)\n"
        "builtins.__import__ = watched\n"
        f"import {entrance}\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == os.environ['HF_HUB_DISABLE_TELEMETRY'] == '1'\n"
        "import onnxruntime\n"
    )
    env = {**os.environ, "ORT_DISABLE_TELEMETRY": "0", "HF_HUB_DISABLE_TELEMETRY": "0"}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
