"""The state folder: only names of ours become paths in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ichor.jobs.storage import Storage


@pytest.mark.parametrize("name", ["..", "a" * 31, "A" * 32, "../" + "a" * 29, "a" * 32 + "/", ""])
def test_only_names_of_ours_become_paths(tmp_path: Path, name: str) -> None:
    storage = Storage(tmp_path / "state")
    for act in (storage.upload, storage.study):
        with pytest.raises(ValueError, match="32 hexadecimal digits"):
            act(name)
