"""Structured reports: figures, codes and words, read back as a receiver reads them."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

pytest.importorskip("highdicom")

import highdicom as hd
from pydicom.dataset import Dataset

import ichor
from ichor.detecting import Detector
from ichor.labels import LABELS, SUBTYPES
from ichor.results import make_results
from ichor.results.sentences import ascii_text
from reading.phantoms import write
from results.made import SOURCES, Study, complete, errors_of, even, study_of, tool, written

DCMTK_REMARKS = ("W: Check for template constraints not yet supported",)
"""What dsrdump says of every key object selection."""


def groups_of(data: Dataset) -> list[Dataset]:
    (measurements,) = [
        c for c in data.ContentSequence if c.get("ConceptNameCodeSequence")[0].CodeValue == "126010"
    ]
    return list(measurements.ContentSequence)


def named(group: Dataset, meaning: str, kind: str) -> list[Dataset]:
    return [
        c
        for c in group.ContentSequence
        if c.ValueType == kind and c.ConceptNameCodeSequence[0].CodeMeaning == meaning
    ]


def number(group: Dataset, meaning: str) -> float:
    (item,) = named(group, meaning, "NUM")
    return float(item.MeasuredValueSequence[0].NumericValue)


def words(data: Dataset) -> str:
    found = [item for group in groups_of(data) for item in named(group, "Comment", "TEXT")]
    return "\n".join(item.TextValue for item in found)


def tracking(group: Dataset) -> str:
    return named(group, "Tracking Identifier", "TEXT")[0].TextValue


def call_of(group: Dataset, meaning: str) -> str:
    (item,) = named(group, meaning, "CODE")
    return item.ConceptCodeSequence[0].CodeMeaning


def every_code(data: Dataset) -> set[tuple[str, str]]:
    found = set()
    for element in data:
        if element.VR == "SQ":
            for item in element.value:
                if "CodeMeaning" in item:
                    value = item.get("CodeValue") or item.get("LongCodeValue")
                    found.add((value, item.CodingSchemeDesignator))
                found |= every_code(item)
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_a_valid_report(name, tmp_path):
    study = study_of(written(tmp_path / "in", name))
    results = study.results("seg", "sr", "sr-planar")
    segmentation, report, planar = (made.dataset for made in results.objects)
    for path in results.save(tmp_path / "out"):
        assert errors_of(path) == []
    regions = groups_of(report)[1 + len(SUBTYPES) :]
    assert len(regions) == len(study.findings.regions) == 2
    for region, group in zip(study.findings.regions, regions, strict=True):
        assert number(group, "Volume") == pytest.approx(region.volume_ml, abs=1e-3)
        (segment,) = named(group, "Referenced Segment", "IMAGE")
        (reference,) = segment.ReferencedSOPSequence
        assert reference.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
        label = segmentation.SegmentSequence[int(reference.ReferencedSegmentNumber) - 1]
        uid = named(group, "Tracking Unique Identifier", "UIDREF")[0].UID
        assert (label.TrackingUID, label.SegmentLabel) == (uid, tracking(group))
    assert len(groups_of(planar)) == 2
    assert hd.sr.ComprehensiveSR.from_dataset(report).content


def test_the_exam_and_its_subtypes_in_figures(tmp_path):
    study = study_of(written(tmp_path, "even"))
    findings = study.findings
    exam, *rest = groups_of(study.results("sr").objects[0].dataset)
    assert number(exam, "Probability") == pytest.approx(findings.probabilities.any, abs=1e-4)
    assert number(exam, "Threshold Value") == pytest.approx(findings.thresholds.any, abs=1e-4)
    assert number(exam, "Volume") == pytest.approx(findings.volume_ml, abs=1e-3)
    assert call_of(exam, LABELS[0].snomed_meaning) == "Suspected"
    for label, group in zip(SUBTYPES, rest, strict=False):
        assert tracking(group) == f"Exam: {label.display.lower()}"
        assert number(group, "Probability") == pytest.approx(
            getattr(findings.probabilities, label.name), abs=1e-4
        )


def test_regions_have_their_side_wherever_rows_run(tmp_path):
    sides = {}
    for name in ("even", "feet_first", "tilted"):
        study = study_of(written(tmp_path / name, name))
        regions = groups_of(study.results("sr").objects[0].dataset)[1 + len(SUBTYPES) :]
        sides[name] = [
            named(g, "Finding Site", "CODE")[0].ContentSequence[0].ConceptCodeSequence[0].CodeMeaning
            for g in regions
        ]
    assert set(map(tuple, sides.values())) == {("Left", "Right")}


def test_a_report_without_a_segmentation_refers_to_the_slices(tmp_path):
    study = study_of(written(tmp_path, "even"))
    region = study.findings.regions[0]
    group = groups_of(study.results("sr").objects[0].dataset)[1 + len(SUBTYPES)]
    images = named(group, "Source", "IMAGE") or named(group, "Source of Measurement", "IMAGE")
    uids = {i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in images}
    assert uids == {study.exam.source.sop_instance_uids[k] for k in region.slices}


def changed(study: Study, p: float, *, positive: bool, uncertain: bool) -> Study:
    """The same study with another probability and call."""
    findings = study.findings
    probabilities = findings.probabilities.replace(any=p)
    flags = findings.positive.replace(any=positive)
    if not positive:
        flags = type(flags)(**dict.fromkeys(type(flags).model_fields, False))
    return Study(
        study.path,
        study.exam,
        findings.replace(probabilities=probabilities, positive=flags, uncertain=uncertain),
    )


@pytest.mark.parametrize(
    ("p", "positive", "uncertain", "meaning"),
    [
        (0.01, False, False, "Not detected"),
        (0.40, False, True, "Undetermined"),
        (0.50, True, True, "Suspected"),
        (0.99, True, False, "Suspected"),
    ],
)
def test_a_negative_excludes_nothing_and_is_never_absent(tmp_path, p, positive, uncertain, meaning):
    path = written(tmp_path, "even")
    empty = np.zeros(study_of(path).exam.volume.shape, np.uint8)
    study = changed(study_of(path, empty), p, positive=positive, uncertain=uncertain)
    data = study.results("sr").objects[0].dataset
    assert call_of(groups_of(data)[0], LABELS[0].snomed_meaning) == meaning
    assert "Research software, not a medical device" in words(data)
    assert "A negative result excludes nothing" in words(data)
    assert study.findings.bundle.sha256 in words(data)
    assert not {("272519000", "SCT"), ("2667000", "SCT")} & every_code(data)


def test_what_was_noticed_of_the_input_stands_in_the_report(tmp_path):
    study = study_of(written(tmp_path, "tilted"))
    said = words(study.results("sr").objects[0].dataset)
    assert study.findings.warnings
    for warning in study.findings.warnings:
        assert f"{ascii_text(warning.message)} [{warning.code}]" in said


def test_a_study_that_cannot_be_read_gets_a_report_that_says_why_by_code(tmp_path):
    path = write(tmp_path / "in", complete(even()[:3]))
    (detection,) = Detector().detect_all(path)
    assert detection.exam is None
    code = detection.findings.warnings[0].code
    results = make_results(detection.findings, detection.exam, path, ("sr", "seg"))
    (report,) = results.objects
    data = report.dataset
    (group,) = groups_of(data)
    assert call_of(group, "Summary of Detections") == "Not Attempted"
    assert (code, "99ICHOR") in every_code(data)
    assert data.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99ICHOR"
    assert ("1386000", "SCT") not in every_code(data)
    assert "Not assessed" in words(data)
    assert "Nothing is said of hemorrhage" in words(data)
    (path,) = results.save(tmp_path / "out")
    assert errors_of(path) == []


def test_dcmtk_reads_every_report(tmp_path):
    dsrdump = tool("dsrdump")
    for name in ("even", "multiframe"):
        results = study_of(written(tmp_path / name, name)).results("seg", "sr", "sr-planar", "ko")
        for made, path in zip(results.objects, results.save(tmp_path / f"{name}-out"), strict=True):
            if made.kind.modality in ("SR", "KO"):
                done = subprocess.run([dsrdump, str(path)], capture_output=True, text=True)
                remarks = [line for line in done.stderr.splitlines() if line not in DCMTK_REMARKS]
                assert (done.returncode, remarks) == (0, [])


def test_the_case_is_read_as_an_exam(tmp_path):
    """What these tests stand on: the made study is one that ichor reads."""
    assert isinstance(ichor.read(written(tmp_path, "even")), ichor.Exam)
