"""ichor loads where modules of Unix are absent, as on Windows."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOAD_ALL = """
import importlib, pkgutil, sys
for name in ("fcntl", "resource", "termios", "pwd", "grp", "syslog"):
    sys.modules[name] = None
import ichor
ours = [m.name for m in pkgutil.walk_packages(ichor.__path__, "ichor.")]
ours = [n for n in ours if not n.startswith("ichor.jobs.migrations") and n != "ichor.cli.__main__"]
failed = {}
for name in ours:
    try:
        importlib.import_module(name)
    except ImportError as error:
        if error.name in ("fcntl", "resource", "termios", "pwd", "grp", "syslog"):
            failed[name] = error.name
print(len(ours), failed)
"""


def test_no_module_needs_unix_to_be_imported() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD_ALL], capture_output=True, text=True, timeout=300)
    number, _, failed = done.stdout.strip().rpartition("\n")[2].partition(" ")
    assert done.returncode == 0, done.stderr
    assert failed == "{}"
    assert int(number) > 100


def test_the_state_folder_is_locked_without_fcntl(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By msvcrt, of which a stand-in counts the calls: there is no Windows here."""
    from types import SimpleNamespace

    from ichor.jobs.storage import Storage

    held: set[int] = set()

    def locking(number: int, mode: int, size: int) -> None:
        if held:
            raise OSError
        held.add(number)

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    storage = Storage(tmp_path / "state")
    with storage.lock("server", wait=False):
        with pytest.raises(BlockingIOError), storage.lock("server", wait=False):
            pass
        assert len(held) == 1
