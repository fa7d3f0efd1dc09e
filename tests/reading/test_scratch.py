"""Temporary folders that nothing leaves behind."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import pytest

from ichor.reading import scratch
from ichor.reading.scratch import ScratchFolder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_private_and_goes_with_what_is_in_it(temporary: Path) -> None:
    with ScratchFolder() as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "below").mkdir()
        (folder / "below" / "file").write_bytes(b"1")
    assert list(temporary.iterdir()) == []


def test_an_interrupt_while_it_is_made_leaves_nothing(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Path.mkdir

    def interrupted(self: Path, mode: int = 0o777) -> None:
        made(self, mode)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ScratchFolder()
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_an_interrupt_while_it_is_cleared_leaves_nothing(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ScratchFolder()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scratch.shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            folder.clear()
    assert folder.path.is_dir()
    del folder
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_one_beside_results_is_hidden_and_goes_where_its_making_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScratchFolder(tmp_path) as folder:
        assert folder.parent == tmp_path and folder.name.startswith(".")
    made = Path.mkdir

    def interrupted(self: Path, mode: int = 0o777) -> None:
        made(self, mode)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ScratchFolder(tmp_path)
    gc.collect()
    assert list(tmp_path.iterdir()) == []
