"""What is in memory is read as the same files are; what is nothing that can be read is refused in a sentence."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset

import ichor
from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam
from ichor.reading.limits import Limits


@pytest.fixture(scope="module")
def demo() -> Path:
    """The exam that ships: a zip of DICOM files."""
    from ichor.cli.demo import demo_exam

    return demo_exam()


@pytest.fixture(scope="module")
def exam(demo: Path) -> Exam:
    found = ichor.read(demo)
    assert isinstance(found, Exam)
    return found


def test_data_sets_are_read_as_their_files(demo: Path, exam: Exam) -> None:
    with zipfile.ZipFile(demo) as archive:
        datasets = [pydicom.dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    for data in datasets[:5]:  # as they come from the network: without the group of the file
        if not data.file_meta.TransferSyntaxUID.is_compressed:
            data.file_meta = FileMetaDataset()
    before = [str(data) for data in datasets]
    found = Exam.from_datasets(datasets[::-1])
    assert [str(data) for data in datasets] == before
    assert (found.volume == exam.volume).all()
    assert found.geometry.positions == pytest.approx(exam.geometry.positions)
    assert found.source.sop_instance_uids == exam.source.sop_instance_uids
    assert found.source.input == "data sets"
    [one] = ichor.read_all(datasets[:2])  # too few: the refusal names no place on the disk
    assert isinstance(one, RefusedInput)
    assert one.source == "data sets"


@pytest.mark.parametrize("isolated", [False, True])
def test_a_file_object_is_read_as_its_file(demo: Path, exam: Exam, isolated: bool) -> None:
    with demo.open("rb") as stream:
        found = ichor.read(stream, isolated=isolated)
    assert isinstance(found, Exam)
    assert (found.volume == exam.volume).all()
    assert found.source.input == "demo.zip"


def test_a_file_object_without_a_name(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(content, "PNG")
    content.seek(0)
    findings = ichor.detect(content)
    assert not findings.assessable
    assert findings.input == "file object"
    assert findings.warnings[0].code == "picture_too_small"


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path, exam: Exam) -> None:
    (tmp_path / "x.txt").write_text("text")
    with (
        (tmp_path / "x.txt").open(encoding="utf-8") as stream,
        pytest.raises(UsageError, match="open it with 'rb'"),
    ):
        ichor.read(stream)  # type: ignore[arg-type]
    for wrong, words in (
        (exam.volume, "found a ndarray; expected a path.*from_array"),
        ([], "found an empty list"),
        (["a", "b"], "found a str at place 0 of the list"),
        ([pydicom.Dataset()], "a data set at place 0 of the list that cannot be written"),
    ):
        with pytest.raises(UsageError, match=words):
            ichor.read(wrong)  # type: ignore[arg-type]
    with pytest.raises(RefusedInput, match="more than 10 bytes"):
        ichor.read(io.BytesIO(b"0" * 11), limits=Limits(file_bytes=10))
