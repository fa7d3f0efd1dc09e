"""Paths of every kind: what they hold is read, what is left out is said, and one bad path stops no other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import ichor
from ichor import cli
from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam, Picture
from ichor.reading.limits import Limits
from ichor.reading.patient_identity import patient_identity
from ichor.uids import hashed_uid

from . import hostile
from .phantoms import SECRETS, Plan, codes, head_hu, head_series, write

PLAN = Plan(n=8, step=9.0, shape=(64, 72))


def study(folder: Path, **tags: str) -> Path:
    """A folder with a small series."""
    datasets = head_series(PLAN)
    for data in datasets:
        for keyword, value in tags.items():
            setattr(data, keyword, value)
    return write(folder, datasets)


def slice_picture(path: Path) -> Path:
    i, j = np.mgrid[:160, :160]
    hu = head_hu(np.stack([(j - 80) * 1.3, (i - 80) * 1.3, np.zeros_like(i)], axis=-1))
    hu = hu + np.random.default_rng(0).normal(0, 4, hu.shape)
    Image.fromarray(np.clip(hu * 255.0 / 80, 0, 255).astype(np.uint8)).save(path)
    return path


def volume(path: Path) -> Path:
    grid = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in (40, 50, 12)), indexing="ij"), axis=-1)
    nib.save(nib.Nifti1Image(head_hu(grid * [4, 4, 9]).astype(np.int16), np.diag([4.0, 4, 9, 1])), path)
    return path


def told(result: Exam | Picture | RefusedInput, code: str) -> list[str]:
    return [n.message for n in result.notices if n.code == code]


def read_all(*paths: Path, **options: object) -> list[Exam | Picture | RefusedInput]:
    return list(ichor.read_all(*paths, **options))  # type: ignore[arg-type]


# -- one input of each kind --------------------------------------------------------------------------------


def test_a_nested_folder_of_any_names(tmp_path):
    files = sorted(study(tmp_path / "made").iterdir())
    for k, file in enumerate(files):
        home = tmp_path / "study" / f"level {k % 3}" / ("deeper" if k % 2 else "")
        home.mkdir(parents=True, exist_ok=True)
        shutil.move(file, home / ("IM.dcm.bak", "ünï cödé", "7", "x.txt")[k % 4])
    exam = ichor.read(tmp_path / "study")
    assert isinstance(exam, Exam) and exam.n_slices == PLAN.n
    assert exam.source.input == str(tmp_path / "study") and codes(exam) == {"slices_thick"}


def test_one_dicom_file_is_a_slice_of_its_own(tmp_path):
    exam = ichor.read(min(study(tmp_path / "s").iterdir()))
    assert exam.n_slices == 1 and "single_slice" in codes(exam)


def test_a_folder_of_one_file_is_no_exam_and_says_what_to_do(tmp_path):
    keep = min(study(tmp_path / "s").iterdir())
    home = tmp_path / "one"
    home.mkdir()
    shutil.copy(keep, home)
    (home / "notes.txt").write_text("hello")
    (result,) = read_all(home)
    assert isinstance(result, RefusedInput) and result.code == "too_few_slices"
    assert told(result, "not_an_image") == ["1 file is no image; left out."]


def test_a_volume_and_a_picture(tmp_path):
    exam = ichor.read(volume(tmp_path / "v.nii.gz"))
    assert isinstance(exam, Exam) and exam.source.format == "nifti" and exam.n_slices == 12
    picture = ichor.read(slice_picture(tmp_path / "p.png"))
    assert isinstance(picture, Picture) and picture.source.format == "picture"


@pytest.mark.parametrize("suffix", ["", ".dcm", ".bin"])
def test_the_content_tells_dicom_not_the_name(tmp_path, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(hostile.series()[3])
    assert isinstance(ichor.read(path), Exam)


def test_paths_as_text_and_as_objects_are_the_same(tmp_path):
    path = volume(tmp_path / "v.nii")
    a, b = ichor.read(str(path)), ichor.read(path)
    assert np.array_equal(a.volume, b.volume) and a.source.input == b.source.input == str(path)


# -- several --------------------------------------------------------------------------------------------


def test_a_bad_input_between_two_good_ones(tmp_path):
    paths = [study(tmp_path / "a"), tmp_path / "none", study(tmp_path / "b")]
    first, bad, last = read_all(*paths)
    assert isinstance(first, Exam) and isinstance(last, Exam)
    assert isinstance(bad, RefusedInput) and bad.code == "not_found" and bad.source == str(paths[1])
    assert first.source.study_uid != last.source.study_uid


def test_results_come_as_they_are_read(tmp_path):
    """Nothing of the second input is touched before the first one's result is taken."""
    second = tmp_path / "b"
    results = ichor.read_all(study(tmp_path / "a"), second)
    assert isinstance(next(results), Exam)
    study(second)
    assert isinstance(next(results), Exam)


def test_several_studies_in_a_folder_are_one_result_each(tmp_path):
    for name in ("x", "y", "z"):
        study(tmp_path / "all" / name)
    results = read_all(tmp_path / "all")
    assert [type(r) for r in results] == [Exam] * 3
    assert len({r.source.study_uid for r in results}) == 3
    assert [r.source.input for r in results] == [str(tmp_path / "all" / name) for name in ("x", "y", "z")]
    with pytest.raises(UsageError, match=r"found 3 .* ichor\.read_all"):
        ichor.read(tmp_path / "all")


def test_studies_of_an_archive_are_named_by_their_place_in_it(tmp_path):
    for name in ("x", "y"):
        study(tmp_path / "apart" / name)
        write(tmp_path / "mixed", head_series(PLAN), prefix=name)
    for kind, inside in (("apart", [":x", ":y"]), ("mixed", ["", ""])):
        packed = Path(shutil.make_archive(str(tmp_path / "sent" / kind), "zip", tmp_path / kind))
        assert [r.source.input for r in read_all(packed)] == [f"{packed}{place}" for place in inside]


def test_several_patients_in_a_folder_are_told_without_their_names(tmp_path):
    study(tmp_path / "all" / "x")
    study(tmp_path / "all" / "y", PatientID="PID-4712", PatientName="Roe^Richard")
    results = read_all(tmp_path / "all")
    assert all("mixed_patients" in codes(r) for r in results) and len(results) == 2
    words = " ".join(n.message for r in results for n in r.notices)
    assert not any(secret in words for secret in (*SECRETS, "4712", "Roe"))


def test_whose_study_it_is_is_read_only_where_that_is_asked(tmp_path, capfd):
    study(tmp_path / "all" / "x")
    changes = {"AccessionNumber": "A-77", "StudyDate": "20260102", "StudyDescription": "CT head"}
    study(tmp_path / "all" / "y", PatientID="PID-4712", PatientName="Roe^Richard", **changes)
    second = read_all(tmp_path / "all")[1]
    found = patient_identity(tmp_path / "all", second.source.study_uid)
    assert found is not None
    assert found.words == "Roe Richard, PID-4712, A-77, 2026-01-02, CT head"
    assert patient_identity(tmp_path / "all", "1.2.3") is None
    for option, there in (("--show-identity", True), ("--quiet", False)):
        cli.run(["detect", str(tmp_path / "all"), option])
        shown = capfd.readouterr()
        assert ("Roe Richard, PID-4712" in shown.out) is there
        assert "Roe" not in shown.err
    assert cli.run(["detect", str(tmp_path), "--json", "--show-identity"]) == 2


def test_a_good_and_a_bad_study_in_a_folder(tmp_path):
    study(tmp_path / "all" / "good")
    study(tmp_path / "all" / "mr", Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    results = read_all(tmp_path / "all")
    assert {getattr(r, "code", "read") for r in results} == {"read", "modality_not_ct"}


def test_several_volumes_and_several_pictures_are_one_result_each(tmp_path):
    volumes, pictures = tmp_path / "volumes", tmp_path / "pictures"
    for folder in (volumes, pictures):
        folder.mkdir()
    for k in range(3):
        volume(volumes / f"{k}.nii.gz")
        slice_picture(pictures / f"{k}.png")
    (volumes / "broken.nii").write_bytes(b"nothing")
    (pictures / "3.jpg").write_bytes(b"\xff\xd8\xff nothing")
    a, b = read_all(volumes), read_all(pictures)
    assert [getattr(r, "code", "read") for r in a] == ["read"] * 3 + ["unreadable"]
    assert [getattr(r, "code", "read") for r in b] == ["read"] * 3 + ["unreadable"]
    assert [r.source.input for r in b[:3]] == [str(pictures / f"{k}.png") for k in range(3)]
    assert str(b[3]).startswith(str(pictures / "3.jpg"))


def test_the_series_asked_for(tmp_path):
    datasets = head_series(PLAN)
    other = head_series(PLAN, study=str(datasets[0].StudyInstanceUID))
    write(tmp_path / "s", datasets, "a")
    write(tmp_path / "s", other, "b")
    for uid in (str(datasets[0].SeriesInstanceUID), str(other[0].SeriesInstanceUID)):
        for asked in (uid, hashed_uid(uid)):
            assert ichor.read(tmp_path / "s", series=asked).source.series_uid == uid
    with pytest.raises(RefusedInput) as caught:
        ichor.read(tmp_path / "s", series="1.2.3")
    assert caught.value.code == "series_not_found"


# -- what is left out is said -----------------------------------------------------------------------------


def test_junk_and_pictures_and_archives_beside_a_study_are_counted(tmp_path):
    folder = study(tmp_path / "s")
    (folder / "readme.txt").write_text("hello")
    (folder / "viewer.exe").write_bytes(b"MZ" * 50)
    (folder / "empty").touch()
    (folder / "._0001").write_bytes(b"x")
    slice_picture(folder / "logo.png")
    (folder / "more.zip").write_bytes(hostile.zipped({"a": b"x"}))
    exam = ichor.read(folder)
    assert told(exam, "not_an_image") == ["3 files are no images; left out."]
    assert told(exam, "file_left_out") == ["Left out: 1 archive, 1 picture."]


def test_pictures_beside_a_study_that_is_refused_are_told_too(tmp_path):
    folder = study(tmp_path / "s", Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    slice_picture(folder / "a.png")
    slice_picture(folder / "b.png")
    (result,) = read_all(folder)
    assert isinstance(result, RefusedInput) and told(result, "file_left_out") == ["Left out: 2 pictures."]


def test_what_links_lead_to_is_read_once_within_the_folder_and_told_outside_it(tmp_path):
    folder = study(tmp_path / "s")
    away = study(tmp_path / "elsewhere")
    files = sorted(folder.iterdir())
    store = folder / "objects"
    store.mkdir()
    for file in files:  # as git-annex keeps them: each would else be read twice
        target = store / f"{file.name}-stored"
        shutil.move(file, target)
        file.symlink_to(target)
    (folder / "out").symlink_to(min(away.iterdir()))
    (folder / "dangling").symlink_to(tmp_path / "nowhere")
    (folder / "folder").symlink_to(away, target_is_directory=True)
    (folder / "same").symlink_to(store, target_is_directory=True)
    (folder / "circle").symlink_to(folder, target_is_directory=True)
    exam = ichor.read(folder)
    assert exam.n_slices == PLAN.n and "positions_duplicate" not in codes(exam)
    assert told(exam, "file_left_out") == ["Left out: 3 links or special files."]


def test_a_pipe_in_a_folder_hangs_nothing(tmp_path):
    folder = study(tmp_path / "s")
    os.mkfifo(folder / "pipe")
    assert told(ichor.read(folder), "file_left_out") == ["Left out: 1 link or special file."]
    (result,) = read_all(folder / "pipe")
    assert isinstance(result, RefusedInput) and result.code == "not_found"


def test_a_link_that_is_named_itself_is_followed(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(study(tmp_path / "s"), target_is_directory=True)
    assert ichor.read(link).n_slices == PLAN.n


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to the superuser")
def test_a_file_that_may_not_be_opened(tmp_path):
    folder = study(tmp_path / "s")
    closed = folder / "closed"
    closed.write_bytes(hostile.series()[0])
    closed.chmod(0)
    assert told(ichor.read(folder), "file_left_out") == ["Left out: 1 file that cannot be opened."]
    (result,) = read_all(closed)
    assert isinstance(result, RefusedInput) and result.code == "not_found" and "ermission" in result.found


def test_a_file_that_vanishes_or_cannot_be_opened_stops_nothing(tmp_path, monkeypatch):
    """As above, for any user: opening one file fails as the system would have it."""
    folder = study(tmp_path / "s")
    closed = folder / "closed"
    closed.write_bytes(hostile.series()[0])
    opened = Path.open

    def refuse(self, *args, **kwargs):
        if self == closed:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    assert told(ichor.read(folder), "file_left_out") == ["Left out: 1 file that cannot be opened."]
    (result,) = read_all(closed)
    assert isinstance(result, RefusedInput) and result.code == "not_found"
    assert "Permission denied" in result.found and "permissions" in result.remedy


# -- nothing to read -------------------------------------------------------------------------------------


def test_nothing_to_read(tmp_path):
    empty, junk, closed = tmp_path / "empty", tmp_path / "junk", tmp_path / "links"
    for folder in (empty, junk, closed):
        folder.mkdir()
    (junk / "a.txt").write_text("hello")
    (junk / "b.docx").write_bytes(b"PK\x03\x04 not a zip of images")
    (closed / "a").symlink_to(tmp_path / "nowhere")
    text = tmp_path / "text.txt"
    text.write_text("hello")
    blank = tmp_path / "blank.dcm"
    blank.touch()
    found = {p.name: r for p in (empty, junk, closed, text, blank) for r in read_all(p)}
    assert {r.code for r in found.values()} == {"no_image"}
    assert found["empty"].found == "nothing in it"
    assert found["links"].found == "1 link or special file"
    assert "archives within" in found["junk"].found
    assert "neither DICOM, NIfTI nor a picture" in found["text.txt"].found
    assert all(name in str(r) for name, r in found.items())


@pytest.mark.parametrize("name", ["none", "x" * 300, "nul\0"])
def test_a_path_that_is_none(tmp_path, name):
    (result,) = read_all(tmp_path / name)
    assert isinstance(result, RefusedInput) and result.code == "not_found"
    with pytest.raises(RefusedInput):
        ichor.read(tmp_path / name)


def test_names_are_told_on_one_line(tmp_path):
    folder = tmp_path / "two\nlines\x1b[2J"
    folder.mkdir()
    (folder / "bad\r.png").write_bytes(b"\x89PNG")
    (result,) = read_all(folder)
    assert isinstance(result, RefusedInput) and str(result).isprintable()
    assert "two?lines?[2J/bad?.png" in result.source


def test_names_that_are_no_text(tmp_path):
    """Names on disk are bytes; those that are no UTF-8 must not stop the findings from being written."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/st\xffdy"))
    study(folder)
    exam = ichor.read(folder)
    assert exam.source.input.endswith("st?dy") and exam.source.input.encode()


# -- limits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("files", 7, "more than 7 files"),
        ("total_bytes", 30_000, "more than 30,000 bytes"),
        ("file_bytes", 5_000, "bytes"),
        ("depth", 1, "folders 2 deep"),
        ("seconds", 1e-9, "s of reading"),
        ("pixels", 4000, "64 x 72 pixels"),
        ("voxels", 20_000, "8 slices of 64 x 72"),
        ("frames", 7, "8 slices"),
    ],
)
def test_a_limit_bites_and_is_named(tmp_path, name, value, found):
    home = tmp_path / "s" / "one" / "two"
    study(home)
    (result,) = read_all(tmp_path / "s", limits=Limits(**{name: value}))
    assert isinstance(result, RefusedInput) and result.code == "limit_exceeded"
    assert found in result.found and f"({name})" in result.expected and f"--limit {name}=" in result.remedy


def test_each_path_has_the_limits_to_itself(tmp_path):
    paths = [study(tmp_path / name) for name in "abc"]
    assert all(isinstance(r, Exam) for r in read_all(*paths, limits=Limits(files=PLAN.n)))
