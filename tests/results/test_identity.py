"""The same study and model give the same bytes; patient and study survive; what is odd is repaired and told."""

from __future__ import annotations

import subprocess
import sys

import pydicom
import pytest

pytest.importorskip("highdicom")

from pydicom.dataelem import DataElement

from ichor.findings import BundleReference
from ichor.results import check_kinds, is_own_result
from reading.phantoms import SECRETS, write
from results.made import Study, complete, errors_of, even, multiframe, sources_in, study_of, uneven, written

NAMES = {
    "japanese": (
        ["", "ISO 2022 IR 87"],
        "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046",
    ),
    "arabic": ("ISO_IR 127", "\u0642\u0628\u0627\u0646\u064a^\u0644\u0646\u0632\u0627\u0631"),
    "cyrillic": ("ISO_IR 144", "\u041b\u044e\u043ac\u0435\u043c\u0431\u0443\u0440\u0433"),
    "utf-8": ("ISO_IR 192", "Wang^XiaoDong=\u738b^\u5c0f\u6771"),
    "latin": ("ISO_IR 100", "Buc^J\u00e9r\u00f4me"),
    "none": (None, "Doe^Jane"),
}


def contents(study: Study, *kinds: str) -> dict[str, bytes]:
    return {made.kind.name: made.content for made in study.results(*(kinds or ("dicom",))).objects}


def uids(study: Study) -> set[str]:
    """Every UID that the results of a study make themselves."""
    found = set()
    for made in study.results("seg", "sr").objects:
        data = made.dataset
        found |= {data.SOPInstanceUID, data.SeriesInstanceUID}
    return found


def test_the_same_study_and_model_give_the_same_bytes(tmp_path):
    path = written(tmp_path, "even")
    first = contents(study_of(path))
    assert first == contents(study_of(path))
    assert first


def test_another_process_gives_the_same_bytes(tmp_path):
    path = written(tmp_path, "even")
    code = (
        "import sys, hashlib; sys.path.insert(0, 'tests'); from pathlib import Path; from results.made import study_of; "
        f"print(*[hashlib.sha256(o.content).hexdigest() for o in study_of(Path({str(path)!r})).results('seg', 'sr').objects])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, **_environment()},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] != ""


def _environment() -> dict[str, str]:
    import os

    return {k: v for k, v in os.environ.items() if k != "PYTHONHASHSEED"}


def test_another_model_threshold_or_slice_gives_new_uids(tmp_path):
    path = written(tmp_path / "a", "even")
    study = study_of(path)
    other_model = study_of(path, bundle=BundleReference(name="made-up", version="0.0", sha256="6" * 64))
    thresholds = study.findings.thresholds.replace(any=0.5)
    other_threshold = Study(path, study.exam, study.findings.replace(thresholds=thresholds))
    (sorted(path.iterdir())[-1]).unlink()
    fewer = study_of(path)
    every = [uids(s) for s in (other_model, other_threshold)]
    assert not every[0] & every[1]
    assert not uids(fewer) & (every[0] | every[1])


@pytest.mark.parametrize("charset", NAMES)
def test_names_survive_byte_for_byte(charset, tmp_path):
    declared, name = NAMES[charset]
    datasets = complete(even())
    for data in datasets:
        if declared:
            data.SpecificCharacterSet = declared
        data.PatientName, data.StudyDescription = name, "Head " + name.split("^")[0].split("=")[0]
    study = study_of(write(tmp_path / "in", datasets))
    source = pydicom.dcmread(next(study.path.iterdir()), stop_before_pixels=True)
    results = study.results("seg", "sr", *(["sc", "ko", "pdf"] if charset == "japanese" else []))
    for made, path in zip(results.objects, results.save(tmp_path / "out"), strict=True):
        data = made.dataset
        for keyword in ("SpecificCharacterSet", "PatientName", "StudyDescription", "PatientID"):
            if keyword in source:
                assert stored_bytes(made.dataset, keyword) == stored_bytes(source, keyword), keyword
        assert str(data.PatientName) == name
        assert errors_of(path) == []


def stored_bytes(data: pydicom.Dataset, keyword: str) -> bytes:
    """The bytes of an element of a data set that was just parsed, as they lie in its file."""
    value = data.get_item(keyword).value
    return value.rstrip(b" \0") if isinstance(value, bytes) else repr(value).encode()


ODD = {
    "PatientBirthDate": "19610231",
    "StudyDate": "2020.1.2",
    "StudyTime": "25:61",
    "PatientSex": "W",
    "TimezoneOffsetFromUTC": "CET",
    "PatientAge": "sixty",
}


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("keyword", ODD)
def test_an_invalid_value_is_not_passed_on_and_told(keyword, tmp_path):
    datasets = complete(even())
    tag = pydicom.tag.Tag(keyword)
    for data in datasets:
        with pydicom.config.disable_value_validation():
            data[tag] = DataElement(tag, pydicom.datadict.dictionary_VR(tag), ODD[keyword])
    with pydicom.config.disable_value_validation():
        study = study_of(write(tmp_path / "in", datasets))
    results = study.results("seg", "sr")
    told = [n for n in results.notices if n.code == "header_repaired"]
    assert [keyword in n.message for n in told] == [True]
    assert not any(ODD[keyword] in n.message for n in told)
    for made, path in zip(results.objects, results.save(tmp_path / "out"), strict=True):
        assert not made.dataset.get(keyword)
        assert errors_of(path) == []


MISSING = ("FrameOfReferenceUID", "PatientBirthDate", "StudyDate", "StudyID", "AccessionNumber", "PatientID")


@pytest.mark.parametrize("keyword", [*MISSING, "SliceThickness", "PatientName", "ReferringPhysicianName"])
def test_a_missing_attribute_is_repaired_and_told(keyword, tmp_path):
    datasets = complete(even())
    for data in datasets:
        delattr(data, keyword)
    study = study_of(write(tmp_path / "in", datasets))
    before = {p: p.read_bytes() for p in study.path.iterdir()}
    results = study.results("seg", "sr", "ko")
    told = [n.message for n in results.notices if n.code == "header_repaired"]
    assert len(told) == 1
    assert f"{keyword} is missing" in told[0]
    assert [made.kind.name for made in results.objects] == ["seg", "sr", "ko"]
    for path in results.save(tmp_path / "out"):
        assert errors_of(path) == []
    assert {p: p.read_bytes() for p in study.path.iterdir()} == before


def test_a_clean_source_needs_no_repair(tmp_path):
    for name, make in (("even", even), ("uneven", uneven), ("multiframe", multiframe)):
        study = study_of(write(tmp_path / name, complete(make())))
        assert study.results("seg", "sr", "ko").notices == ()


def test_own_results_are_known_and_images_are_not(tmp_path):
    study = study_of(written(tmp_path, "even"))
    assert all(is_own_result(made.dataset) for made in study.results("dicom", "pdf", "sr-planar").objects)
    assert not any(is_own_result(header) for header in sources_in(study.path).values())


def test_nothing_of_the_patient_but_what_the_standard_asks(tmp_path):
    """Canaries in every text of the source: institution and physicians of other kinds do not come along."""
    datasets = complete(even())
    for data in datasets:
        data.InstitutionAddress, data.OperatorsName = "Canary Street", "Canary^Operator"
        data.PatientAddress, data.OtherPatientIDs = "Canary Road 1", "CANARY-2"
        data.PatientComments, data.ImageComments = "Canary comment", "Canary image"
    study = study_of(write(tmp_path / "in", datasets))
    for made in study.results("dicom", "pdf", "sr-planar").objects:
        assert b"anary" not in made.content
        assert b"CANARY" not in made.content
        assert SECRETS[3].encode() not in made.content
        assert SECRETS[0].encode() in made.content


def test_results_name_no_patient_in_notices(tmp_path):
    datasets = complete(even())
    for data in datasets:
        del data.FrameOfReferenceUID
    study = study_of(write(tmp_path, datasets))
    text = " ".join(n.message for n in study.results().notices)
    assert text
    assert not any(secret in text for secret in SECRETS)


def test_kinds_are_checked_by_name():
    from ichor.errors import UsageError

    assert check_kinds(["sr", "dicom"]) == ("seg", "sr", "sc", "ko")
    with pytest.raises(UsageError, match="expected dicom or any of seg, sr"):
        check_kinds(["gsps"])
