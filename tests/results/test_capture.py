"""The page as a capture and as a PDF, and the key images."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("highdicom")

from PIL import Image, ImageChops

from ichor.detecting import Detector
from ichor.reporting.choice import suspicious_slices
from ichor.results import make_results
from ichor.results.page import key_slices
from reading.phantoms import write
from results.made import Study, complete, errors_of, even, study_of, written


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    return study_of(written(tmp_path_factory.mktemp("even"), "even"))


@pytest.fixture(scope="module")
def results(study):
    return study.results("sc", "ko", "pdf")


def of_kind(results, name: str):
    (made,) = [made for made in results.objects if made.kind.name == name]
    return made.dataset


def test_every_object_is_valid(results, tmp_path):
    for path in results.save(tmp_path):
        assert errors_of(path) == []


def test_the_capture_is_marked_as_annotated_and_shows_the_outlines(study, results):
    data = of_kind(results, "sc")
    assert data.BurnedInAnnotation == "YES"
    pixels = data.pixel_array
    assert pixels.shape == (data.Rows, data.Columns, 3)
    coloured = np.ptp(pixels[80:980, :880].astype(int), axis=-1) > 40
    assert coloured.sum() > 500  # outlines and marks; the slices themselves are grey
    empty = study_of(study.path, np.zeros(study.exam.volume.shape, np.uint8)).results("sc").objects[0].dataset
    differs = np.abs(pixels.astype(int) - empty.pixel_array.astype(int)).max(axis=-1) > 40
    assert differs[80:980, :880].sum() > 500
    assert differs[80:980, 900:].sum() > 500


def test_the_page_refers_to_the_slices_that_it_shows(study, results):
    from ichor.reading.originals import originals_of_exam
    from ichor.results.case import Case
    from ichor.results.identity import identity_of

    originals = originals_of_exam(study.path, study.exam)
    case = Case(study.findings, study.exam, originals, identity_of(study.findings, originals))
    shown = {study.exam.source.sop_instance_uids[k] for k in key_slices(case)}
    for name, sequence in (("sc", "SourceImageSequence"), ("pdf", "SourceInstanceSequence")):
        assert {i.ReferencedSOPInstanceUID for i in of_kind(results, name)[sequence]} == shown


def test_the_pdf_is_one_and_is_whole(results):
    data = of_kind(results, "pdf")
    content = data.EncapsulatedDocument[: data.EncapsulatedDocumentLength]
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert data.MIMETypeOfEncapsulatedDocument == "application/pdf"


def test_the_key_images_are_the_suspicious_slices(study, results):
    data = of_kind(results, "ko")
    items = [i for i in data.ContentSequence if i.ValueType == "IMAGE"]
    uids = {i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in items}
    assert uids == {study.exam.source.sop_instance_uids[k] for k in suspicious_slices(study.findings)}


def test_the_key_images_of_one_object_are_its_frames(tmp_path):
    study = study_of(written(tmp_path / "in", "multiframe"))
    made = study.results("ko").objects[0]
    (item,) = [i for i in made.dataset.ContentSequence if i.ValueType == "IMAGE"]
    numbers = item.ReferencedSOPSequence[0].ReferencedFrameNumber
    wanted = {study.exam.source.frame_numbers[k] for k in suspicious_slices(study.findings)}
    assert set(map(int, numbers)) == wanted
    path = tmp_path / "ko.dcm"
    path.write_bytes(made.content)
    assert errors_of(path) == []


def test_no_suspicious_slice_no_key_images(tmp_path):
    study = study_of(written(tmp_path, "even"), None)
    empty = study_of(study.path, np.zeros(study.exam.volume.shape, np.uint8))
    quiet = [s.replace(probabilities=s.probabilities.replace(any=0.01)) for s in empty.findings.slices]
    study = Study(study.path, study.exam, empty.findings.replace(slices=quiet))
    results = study.results("ko")
    assert results.objects == ()
    assert "no slice reaches the threshold" in results.notices[-1].message


def test_a_study_that_was_not_assessed_gets_a_page_that_says_so(tmp_path):
    path = write(tmp_path / "in", complete(even()[:3]))
    (detection,) = Detector().detect_all(path)
    results = make_results(detection.findings, detection.exam, path, ("sc", "ko"))
    (made,) = results.objects
    sheet = Image.fromarray(made.dataset.pixel_array)
    assert ImageChops.difference(sheet, Image.new("RGB", sheet.size)).getbbox()
    (path,) = results.save(tmp_path / "out")
    assert errors_of(path) == []
