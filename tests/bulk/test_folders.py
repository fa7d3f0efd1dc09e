"""Units in folders: found as the walk comes to them, a study in several folders is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk.made import study, volume
from ichor.bulk.folders import FolderSource
from ichor.errors import UsageError
from ichor.uids import hashed_uid


def names(root: Path) -> list[str]:
    return [unit.name for unit in FolderSource(root).discover()]


def test_units_come_before_everything_was_looked_at(tmp_path):
    for k in range(60):
        study(tmp_path / f"{k:02d}", n=1)
    found = FolderSource(tmp_path).discover()
    first = next(found)
    study(tmp_path / "59" / "later", n=1)  # not there when the first one was given
    rest = [unit.name for unit in found]
    assert first.name == "00"
    assert "59/later" in rest
    assert len(rest) == 60


def test_series_in_several_folders_are_one_unit_read_as_their_common_folder(tmp_path):
    study(tmp_path / "p" / "s1", uid="1.2.3", n=2)
    study(tmp_path / "p" / "s2", uid="1.2.3", n=1)
    study(tmp_path / "q", n=1)
    one, other = FolderSource(tmp_path).discover()
    assert (one.name, one.places, other.places) == ("p", ("p",), ("q",))
    beside = tmp_path / "beside"
    study(beside / "r1", uid="1.2.4", n=2)
    study(beside / "r2", uid="1.2.4", n=1)
    (unit,) = FolderSource(beside).discover()
    assert unit.places == ("r1", "r2")
    (tmp_path / "fetched").mkdir()
    path = FolderSource(beside).fetch(unit, tmp_path / "fetched")
    assert len([p for p in path.rglob("*") if p.is_file()]) == 3


def test_a_study_that_goes_on_far_away_is_given_again_whole(tmp_path):
    study(tmp_path / "00", uid="1.2.3", n=2)
    for k in range(1, 40):
        study(tmp_path / f"{k:02d}", n=1)
    study(tmp_path / "zz", uid="1.2.3", n=1)
    found = list(FolderSource(tmp_path).discover())
    first, last = found[0], found[-1]
    assert first.id == last.id
    assert (first.places, last.places) == (("00",), ("00", "zz"))
    assert first.fingerprint != last.fingerprint
    assert len(found) == 41


def test_a_folder_of_several_studies_is_parted_by_their_headers(tmp_path):
    study(tmp_path, uid="1.2.3", n=2)
    from reading.phantoms import Plan, head_series, write

    write(tmp_path, head_series(Plan(n=3), study="1.2.4"), prefix="x")
    volume(tmp_path / "v.nii.gz")
    (tmp_path / "broken").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 400)
    (tmp_path / "notes.txt").write_text("no image")
    source = FolderSource(tmp_path)
    units = list(source.discover())
    assert sorted(len(unit.places) for unit in units) == [1, 1, 2, 3]
    assert source.left_out == {"files that are no images": 1}
    assert {u.id for u in units} == {u.id for u in FolderSource(tmp_path).discover()}


def test_the_output_within_the_root_is_not_looked_into(tmp_path):
    study(tmp_path / "a", n=1)
    study(tmp_path / "out" / "b", n=1)
    assert [u.name for u in FolderSource(tmp_path, tmp_path / "out").discover()] == ["a"]


def test_pictures_are_units_only_where_there_is_nothing_else(tmp_path):
    from PIL import Image

    for folder in ("alone", "beside"):
        (tmp_path / folder).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / folder / "x.png")
    study(tmp_path / "beside", n=1)
    assert sorted(names(tmp_path)) == ["alone/x.png", "beside"]


def test_ids_hold_no_uid(tmp_path):
    study(tmp_path / "a", uid="1.2.3", n=1)
    (unit,) = FolderSource(tmp_path).discover()
    assert "1.2.3" not in unit.id
    assert hashed_uid("1.2.3") not in unit.id


def test_a_root_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="found no such folder or file"):
        FolderSource(tmp_path / "nowhere")
