"""Files written: what is in them, what must never be."""

from __future__ import annotations

import csv
import html.parser
import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from ichor.errors import UsageError
from ichor.exam import Exam, Picture, Source
from ichor.findings import BundleReference, Findings, FindingsWarning, LabelFlags, LabelValues, SliceFindings
from ichor.labels import LABEL_NAMES
from ichor.reporting import (
    check_formats,
    not_written,
    report_folder,
    write_csv,
    write_html,
    write_json,
    write_overlays,
    write_report,
)

from .cases import THRESHOLDS, card, ct_ich, findings_on, phantom, refused


class _Page(html.parser.HTMLParser):
    """Collects tags, attributes and visible text; notices tags that do not close."""

    VOID = frozenset({"meta", "input", "br", "image", "rect", "line", "path"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))
        assert self.stack == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID or tag in ("rect", "path"):
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.stack.pop() == tag
        self.text += " "

    def handle_data(self, data) -> None:
        if not self.stack or self.stack[-1] != "style":
            self.text += data

    def ids(self) -> list[str]:
        return [a["id"] for _, a in self.tags if "id" in a]


def test_json_is_what_was_found(tmp_path) -> None:
    exam, mask = phantom()
    findings = findings_on(exam, mask)
    data = json.loads(write_json(findings, tmp_path / "findings.json").read_text("utf-8"))
    assert data == findings.to_dict()
    assert Findings.model_validate(data).to_dict() == data


def test_csv_has_one_line_a_slice(tmp_path) -> None:
    exam, mask = phantom()
    findings = findings_on(exam, mask)
    with write_csv(findings, tmp_path / "slices.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "position_mm", "sop_instance_uid", *LABEL_NAMES, "exam_uncertain"]
    assert [int(r["index"]) for r in rows] == list(range(12))
    assert float(rows[3]["position_mm"]) == pytest.approx(15.0)
    assert [float(r["any"]) for r in rows] == pytest.approx(
        [s.probabilities.any for s in findings.slices], abs=1e-6
    )
    assert write_csv(refused(), tmp_path / "none.csv").read_text().count("\n") == 1


def test_page_of_a_positive_exam(tmp_path) -> None:
    exam, mask = phantom()
    warning = FindingsWarning(code="gantry_tilt", message="Tilt <8> degrees & more.", slices=[0, 1, 2])
    path = write_html(findings_on(exam, mask, warnings=(warning,)), exam, tmp_path / "report.html")
    page = _Page(path)
    for words in (
        "Hemorrhage suspected",
        "not a medical device",
        "Intraparenchymal (IPH)",
        "6.8 mL",
        "5-7",
        "gantry_tilt",
        "Tilt <8> degrees & more.",
        "1-3",
        "Phantoms & Co <x>",
        "position along the slices' normal, mm",
    ):
        assert words in page.text, words
    assert len(page.ids()) == len(set(page.ids()))
    svgs = [a for t, a in page.tags if t == "svg"]
    assert all(a.get("role") == "img" and a.get("aria-label") for a in svgs)
    assert len([a for t, a in page.tags if t == "image"]) == 9
    # An outline on every panel of the three slices, and a line around it that keeps it visible.
    assert len([a for t, a in page.tags if t == "path" and a["class"] == "outline"]) == 9


def test_page_asks_nobody_for_anything(tmp_path) -> None:
    exam, mask = phantom()
    text = write_html(findings_on(exam, mask), exam, tmp_path / "report.html").read_text("utf-8")
    page = _Page(tmp_path / "report.html")
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#")), attributes
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'" in text


def test_page_of_a_negative_exam(tmp_path) -> None:
    exam, mask = phantom()
    page = _Page(write_html(findings_on(exam, 0 * mask), exam, tmp_path / "report.html"))
    assert "No hemorrhage suspected" in page.text
    assert "does not rule hemorrhage out" in page.text
    assert "No region was outlined." in page.text
    assert "Outlines are drawn" not in page.text
    assert not [a for t, a in page.tags if t == "path" and a.get("class") == "outline"]


def test_page_tells_of_the_model(tmp_path) -> None:
    exam, mask = phantom()
    findings = findings_on(exam, mask)
    bundle = BundleReference(name="made-up", version="0.0", sha256="0" * 64)
    findings = findings.model_copy(update={"bundle": bundle}).with_mask(findings.mask)
    text = " ".join(_Page(write_html(findings, exam, tmp_path / "report.html", card())).text.split())
    for words in (
        "made-up 0.0",
        "0" * 64,
        "chosen for exam sensitivity of at least 90%. It gave sensitivity 93% and specificity 71% where it was chosen.",
        "Epidural is not to be relied on: only 3 patients",
        "set: 7 exams, 99 slices; children too (A & B; CC BY)",
        "slice AUC, any 0.951 - 99 slices, 20 positive, 7 patients five folds by patient",
        "exam AUC - - 7 exams p",
        "Children were few <2>.",
    ):
        assert words in text, words
    other = findings.model_copy(update={"thresholds": THRESHOLDS.model_copy(update={"any": 0.2})})
    text = " ".join(_Page(write_html(other, exam, tmp_path / "report.html", card())).text.split())
    assert "This threshold was set for this run; the model's own is 0.42." in text
    assert "Type intraparenchymal 0.9" in text
    doubted = [s.replace(trusted=False, reason="only 3 patients") for s in other.subtypes]
    text = write_html(other.replace(subtypes=doubted), exam, tmp_path / "report.html").read_text("utf-8")
    assert '<span class="pale">intraparenchymal 0.93 (not to be relied on)</span>' in text
    assert "Intraparenchymal is not to be relied on: only 3 patients" in text


def test_page_of_a_refused_input(tmp_path) -> None:
    page = _Page(write_html(refused("<b>&.dcm"), None, tmp_path / "report.html"))
    assert "Not assessed" in page.text
    assert "<b>&.dcm" in page.text
    assert "unreadable" in page.text
    assert "Probabilities" not in page.text


def test_page_shows_what_was_refused_if_it_could_be_read(tmp_path) -> None:
    exam, _ = phantom()
    page = _Page(write_html(refused("abdomen/", "not_a_head"), exam, tmp_path / "report.html"))
    assert "What was read" in page.text
    assert len([a for t, a in page.tags if t == "image"]) == 3


def test_page_of_a_picture(tmp_path) -> None:
    exam, mask = phantom()
    grey = np.clip((exam.volume[5] - 0) * 255 // 80, 0, 255).astype(np.uint8)
    picture = Picture(grey, Source("a.png", "picture"), (0, 0, *grey.shape), (300, 280))
    p = LabelValues(
        any=0.9, epidural=0.1, intraparenchymal=0.8, intraventricular=0, subarachnoid=0, subdural=0.1
    )
    region = (
        findings_on(exam, mask)
        .regions[0]
        .model_copy(update={"volume_ml": None, "bbox_mm": None, "slices": [0]})
    )
    findings = Findings(
        input="a.png",
        kind="picture",
        n_slices=1,
        probabilities=p,
        thresholds=THRESHOLDS,
        positive=LabelFlags(any=True, intraparenchymal=True),
        slices=[SliceFindings(index=0, position_mm=None, sop_instance_uid=None, probabilities=p)],
        regions=[region],
        assessable=True,
    ).with_mask(mask[5:6])
    page = _Page(write_html(findings, picture, tmp_path / "report.html"))
    assert "does not tell which side is which" in page.text
    assert "not known" in page.text
    assert "Along the head" not in page.text
    assert len([a for t, a in page.tags if t == "image"]) == 1
    (overlay,) = write_overlays(findings, picture, tmp_path / "overlay")
    with Image.open(overlay) as image:
        assert _coloured(np.asarray(image)) > 50


def test_overlays_hold_outlines_on_suspicious_slices_only(tmp_path) -> None:
    exam, mask = phantom()
    folder = tmp_path / "overlay"
    folder.mkdir()
    stale = folder / "slice-099.png"
    stale.write_bytes(b"of an earlier run")
    written = write_overlays(findings_on(exam, mask), exam, folder)
    assert [p.name for p in written] == ["slice-005.png", "slice-006.png", "slice-007.png"]
    assert not stale.exists()
    for path in written:
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert _coloured(np.asarray(image)) > 3 * 50
    assert write_overlays(findings_on(exam, 0 * mask), exam, folder) == []
    assert not list(folder.iterdir())


def _coloured(pixels: np.ndarray) -> int:
    """Pixels of the label's red."""
    r, g, b = (pixels[..., i].astype(int) for i in range(3))
    return int(((r - g > 80) & (r - b > 60)).sum())


def test_nothing_of_the_patient_leaves(tmp_path) -> None:
    exam, mask = phantom()
    written = write_report(findings_on(exam, mask), exam, tmp_path / "r", ("html", "overlay"))
    uids = [exam.source.study_uid + "<", exam.source.series_uid + "<", *exam.source.sop_instance_uids]
    for path in written:
        data = path.read_bytes()
        assert not [uid for uid in uids if uid.encode() in data], path.name


def test_report_writes_what_was_asked(tmp_path) -> None:
    exam, mask = phantom()
    written = write_report(findings_on(exam, mask), exam, tmp_path / "r")
    assert [p.name for p in written] == ["findings.json", "slices.csv", "report.html"]
    assert json.loads(written[0].read_text())["seconds"]["report"] > 0
    written = write_report(refused(), None, tmp_path / "x", ("overlay", "nifti", "html", "json", "csv"))
    assert [p.name for p in written] == ["findings.json", "slices.csv", "report.html"]


def test_mask_is_aligned_with_the_slices(tmp_path) -> None:
    exam, mask = phantom((0, 1, 0), (1, 0, 0), spacing=(0.7, 1.3))
    findings = findings_on(exam, mask)
    (path,) = write_report(findings, exam, tmp_path / "r", ("nifti",))
    image = nibabel.load(path)
    data = np.asarray(image.dataobj)
    assert data.dtype == np.uint8
    assert np.count_nonzero(data) == np.count_nonzero(mask)
    # Every marked voxel's centre, in RAS millimetres, lies in the sphere that was drawn (LPS +35, -40).
    points = nibabel.affines.apply_affine(image.affine, np.argwhere(data))
    assert np.hypot(points[:, 0] + 35, points[:, 1] - 40).max() < 12
    assert sorted(set(np.round(points[:, 2], 6))) == pytest.approx(sorted(set(exam.geometry.distances[4:7])))
    assert image.get_sform(coded=True)[1] == 1


def test_folders_are_named_after_inputs_and_never_shared(tmp_path) -> None:
    taken: set[Path] = set()
    names = [
        report_folder(tmp_path, source, taken).name
        for source in (
            "a/study/",
            "b/study",
            "b/STUDY",
            "c.nii.gz",
            "d/c.zip:e/f.dcm",
            "../we ird*|name.png",
            "...",
        )
    ]
    assert names == ["study", "study-2", "STUDY-3", "c", "f", "we_ird_name", "input"]
    several = [("in", "in/a b/CT"), ("in", "in/c/CT"), ("z.zip", "z.zip:d/e.dcm"), ("in", "in")]
    names = [report_folder(tmp_path, source, taken, within).name for within, source in several]
    assert names == ["a_b-CT", "c-CT", "d-e", "in"]


def test_formats_are_checked() -> None:
    assert check_formats(["html", "json", "html"]) == ("json", "html")
    with pytest.raises(UsageError, match="--write gif: found no such format"):
        check_formats(["gif"])


def test_what_does_not_apply_is_said() -> None:
    exam, mask = phantom()
    picture = Picture(np.zeros((9, 9), np.uint8), Source("a.png", "picture"), (0, 0, 9, 9), (9, 9))
    assert not_written(findings_on(exam, mask), exam, ("nifti", "overlay")) == []
    assert len(not_written(findings_on(exam, 0 * mask), picture, ("nifti", "overlay", "html"))) == 2
    assert not_written(refused(), None, ("nifti", "overlay")) == []


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file: found that it cannot be written to"):
        write_report(refused(), None, tmp_path / "file", ("json",))


def test_real_exam_with_the_publishers_masks(tmp_path, shared_data) -> None:
    exam, mask = ct_ich(shared_data, "081")
    assert isinstance(exam, Exam)
    path = write_html(findings_on(exam, mask, "subdural"), exam, tmp_path / "report.html")
    page = _Page(path)
    assert len([a for t, a in page.tags if t == "image"]) == 12
    assert len([a for t, a in page.tags if t == "path" and a["class"] == "outline"]) >= 12
    assert path.stat().st_size < 3_000_000
