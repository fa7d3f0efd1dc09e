"""What the API hands out of a study, verdicts and their export, health and metrics."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import httpx
import nibabel
import numpy as np
from PIL import Image

import ichor
from ichor.cli.demo import demo_exam
from ichor.datasets.listing import Listing
from ichor.findings import Findings
from ichor.jobs.tables import Study, Verdict
from ichor.labels import LABEL_NAMES
from ichor.preparing import WINDOWS
from ichor.serving.export import _text, labels_of
from serving.served import Served, done, exam, listed, submit


@pytest.fixture(scope="module")
def demo(server: Served) -> dict[str, Any]:
    with server.client() as client:
        return done(client, submit(client, ("demo.zip", demo_exam().read_bytes()))["studies"][0]["id"])


def volume_of(content: bytes, path: Path) -> Any:
    path.write_bytes(content)
    return nibabel.load(path)


def test_findings_are_those_of_the_command(server: Served, demo: dict[str, Any]) -> None:
    with server.client() as client:
        said = client.get(f"/studies/{demo['id']}/findings").json()
    own = json.loads(ichor.detect(demo_exam()).to_json())
    for key in (
        "probabilities",
        "positive",
        "subtypes",
        "slices",
        "regions",
        "volume_ml",
        "study_uid",
        "series_uid",
        "warnings",
    ):
        assert said[key] == own[key], key
    assert said["input"] == f"study {demo['label']}"
    assert Findings.model_validate(said).assessable
    assert (demo["probability"], demo["flagged"]) == (own["probabilities"]["any"], own["positive"]["any"])
    likely = [(s["label"], s["trusted"]) for s in own["subtypes"] if s["likely"]]
    assert sorted((s["label"], s["trusted"]) for s in demo["subtypes"]) == sorted(likely)
    assert likely


def test_volume_masks_and_slices_fit_each_other(server: Served, demo: dict[str, Any], tmp_path: Path) -> None:
    whole = ichor.read(demo_exam())
    with server.client() as client:
        get = lambda name: client.get(f"/studies/{demo['id']}/{name}").content  # noqa: E731
        volume = volume_of(get("volume.nii.gz"), tmp_path / "v.nii.gz")
        mask = volume_of(get("mask.nii.gz"), tmp_path / "m.nii.gz")
        native = volume_of(get("mask-native.nii.gz"), tmp_path / "n.nii.gz")
        slices = client.get(f"/studies/{demo['id']}/slices").json()
        said = client.get(f"/studies/{demo['id']}/findings").json()
    assert volume.get_data_dtype() == np.int16
    assert volume.shape == mask.shape == tuple(slices["display"]["shape"][::-1])
    assert np.allclose(volume.affine, mask.affine)
    assert np.array_equal(np.asarray(volume.dataobj).transpose(2, 1, 0), whole.volume)
    numbers = set(np.unique(np.asarray(mask.dataobj)).tolist()) - {0}
    assert numbers == set(range(1, len(said["regions"]) + 1))
    voxel = abs(np.linalg.det(mask.affine[:3, :3])) / 1000
    assert np.count_nonzero(np.asarray(mask.dataobj)) * voxel == pytest.approx(said["volume_ml"], rel=0.02)
    assert np.count_nonzero(np.asarray(native.dataobj)) == np.count_nonzero(np.asarray(mask.dataobj))
    assert [s["display"] for s in slices["slices"]] == list(range(30))
    peak = max(said["slices"], key=lambda s: s["probabilities"]["any"])["index"]
    assert abs(slices["display"]["suspicious"] - peak) <= 2


@pytest.mark.parametrize("window", list(WINDOWS))
def test_a_slice_is_shown_in_its_window(server: Served, demo: dict[str, Any], window: str) -> None:
    whole = ichor.read(demo_exam())
    with server.client() as client:
        answer = client.get(f"/studies/{demo['id']}/slices/14.png", params={"window": window})
        outlined = client.get(f"/studies/{demo['id']}/slices/14.png", params={"window": window, "mask": True})
        assert client.get(f"/studies/{demo['id']}/slices/30.png").status_code == 404
        assert client.get(f"/studies/{demo['id']}/slices/-1.png").status_code == 404
        assert client.get(f"/studies/{demo['id']}/slices/1.png", params={"window": "x"}).status_code == 422
    with Image.open(io.BytesIO(answer.content)) as shown:
        assert np.array_equal(np.asarray(shown), WINDOWS[window].to_grey(whole.volume[14]))
    with Image.open(io.BytesIO(outlined.content)) as shown:
        assert shown.mode == "RGB"
        coloured = (np.asarray(shown) != np.asarray(shown)[..., :1]).any(axis=2)
    assert 20 < coloured.sum() < 5000


def test_the_report_is_one_page_with_a_policy_of_its_own(server: Served, demo: dict[str, Any]) -> None:
    with server.client() as client:
        answer = client.get(f"/studies/{demo['id']}/report.html")
        archive = zipfile.ZipFile(io.BytesIO(client.get(f"/studies/{demo['id']}/overlays.zip").content))
    assert demo["label"] in answer.text
    assert "not a medical device" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]
    assert len(archive.namelist()) >= 3
    assert archive.testzip() is None


def test_a_study_that_was_read_and_then_refused_can_be_looked_at(server: Served) -> None:
    stream = io.BytesIO()
    grey = np.linspace(0, 255, 300 * 300).reshape(300, 300).astype(np.uint8)
    Image.fromarray(grey).save(stream, "PNG")
    with server.client() as client:
        row = done(client, submit(client, ("wedge.png", stream.getvalue()))["studies"][0]["id"])
        assert row["state"] == "refused"
        assert row["refusal"]["code"] == "not_a_head"
        assert row["probability"] is None
        assert not row["flagged"]


def test_a_verdict_is_kept_and_marks_the_study_read(server: Served, demo: dict[str, Any]) -> None:
    labels = {"any": True, "subdural": True, "epidural": False}
    said = {"reader": "Anna ", "verdict": "disagree", "labels": labels, "note": "=1+1, thin rim"}
    with server.client() as client:
        row = client.put(f"/studies/{demo['id']}/verdict", json=said).json()
        assert (row["read_by"], row["verdict"]) == ("Anna", "disagree")
        kept = client.get(f"/studies/{demo['id']}/verdicts").json()
        assert [
            (v["reader"], v["note"], v["labels"]["subdural"], v["labels"]["subarachnoid"]) for v in kept
        ] == [("Anna", "=1+1, thin rim", True, None)]
        assert demo["id"] in {s["id"] for s in listed(client, read=True)}
        table = list(csv.DictReader(io.StringIO(client.get("/verdicts.csv").text)))
        mine = next(r for r in table if r["study"] == demo["id"])
        assert (mine["any"], mine["subdural"], mine["epidural"], mine["subarachnoid"]) == ("1", "1", "0", "")
        assert mine["note"] == "'=1+1, thin rim"  # not a formula
        assert client.put(f"/studies/{'0' * 32}/verdict", json=said).status_code == 404
        assert (
            client.put(f"/studies/{demo['id']}/verdict", json={**said, "verdict": "maybe"}).status_code == 422
        )
        assert client.put(f"/studies/{demo['id']}/verdict", json={**said, "reader": "  "}).status_code == 422
        unread = client.delete(f"/studies/{demo['id']}/verdict").json()
        assert (unread["read_by"], unread["verdict"]) == (None, None)


def test_what_readers_said_is_a_data_set_that_ichor_reads(
    server: Served, demo: dict[str, Any], tmp_path: Path
) -> None:
    with server.client() as client:
        other = done(client, submit(client, ("a.nii", exam(7, bleed=False)))["studies"][0]["id"])
        client.put(f"/studies/{demo['id']}/verdict", json={"reader": "a", "verdict": "agree"})
        none = dict.fromkeys(LABEL_NAMES, False)
        client.put(
            f"/studies/{other['id']}/verdict", json={"reader": "a", "verdict": "disagree", "labels": none}
        )
        answer = client.get("/dataset.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "set")
    dataset = Listing(tmp_path / "set" / "labels.csv")
    exams = {Path(name).name.partition(".")[0]: dataset.load(name) for name in dataset.patients()}
    labels = {Path(name).name.partition(".")[0]: v for name, v in dataset.patients().items()}
    assert set(exams) == {demo["id"], other["id"]}
    assert np.array_equal(exams[demo["id"]].exam.volume, ichor.read(demo_exam()).volume)
    assert labels[demo["id"]][0] == 1
    assert labels[other["id"]].tolist() == [0] * 6
    assert (exams[other["id"]].labels == 0).all()


@pytest.mark.parametrize(
    ("model", "verdict", "marked", "expected"),
    [
        ({"any": True, "subdural": True}, "agree", None, {"any": 1, "subdural": 1, "epidural": None}),
        ({"any": False}, "agree", None, {"any": 0, "subdural": 0}),
        ({"any": True, "subdural": True}, "disagree", None, {"any": 0, "subdural": 0}),
        ({"any": False}, "disagree", None, {"any": 1, "subdural": None}),
        (
            {"any": True},
            "disagree",
            {"any": True, "epidural": True},
            {"any": 1, "epidural": 1, "subdural": None},
        ),
        ({"any": False}, "disagree", {"epidural": True}, {"any": 1, "epidural": 1}),
        ({"any": True}, "disagree", {"any": False}, {"any": 0, "epidural": 0}),
        (None, "agree", None, {"any": None}),
    ],
)
def test_what_a_verdict_says_of_each_label(
    model: dict[str, bool] | None,
    verdict: str,
    marked: dict[str, bool] | None,
    expected: dict[str, int | None],
) -> None:
    study = Study(id="x", job=1, arrived=0, label="x", positive=model)
    told = labels_of(study, Verdict(study="x", reader="a", verdict=verdict, labels=marked, note="", at=0))
    assert set(told) == set(LABEL_NAMES)
    assert {k: told[k] for k in expected} == expected


@pytest.mark.parametrize(
    "lead", ["", "\n", "\t", " ", "\r\n", " \n\t ", "\u00a0", "\u200b", "\ufeff", "\x0b"]
)
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "\uff0b"])
def test_no_cell_is_a_formula_whatever_stands_before_its_sign(lead: str, sign: str) -> None:
    assert _text(f"{lead}{sign}1+1") == f"'{lead}{sign}1+1"


@pytest.mark.parametrize("plain", ["", "thin rim = 3 mm", "a-b", " left", "7F3A-K2QX"])
def test_plain_words_stay_as_they_are(plain: str) -> None:
    assert _text(plain) == plain


def test_a_name_in_the_list_can_be_changed(server: Served, demo: dict[str, Any]) -> None:
    with server.client() as client:
        named = client.patch(f"/studies/{demo['id']}", json={"alias": "Case 7"}).json()
        assert (named["label"], named["alias"]) == ("Case 7", "Case 7")
        assert [s["id"] for s in listed(client, q="case 7")] == [demo["id"]]
        assert client.patch(f"/studies/{demo['id']}", json={"alias": "x" * 81}).status_code == 422
        assert client.patch(f"/studies/{demo['id']}", json={"alias": "a\nb"}).status_code == 422
        assert client.patch(f"/studies/{demo['id']}", json={"alias": None}).json()["label"] == demo["label"]


def test_the_model_and_the_limits_are_told(server: Served) -> None:
    with server.client() as client:
        model = client.get("/model").json()
        bounds = client.get("/limits").json()
    assert model["bundle"]["name"] == "default"
    assert "<table>" in model["card_html"]
    assert "<script" not in model["card_html"]
    assert bounds["windows"]["subdural"] == {"level": 80, "width": 200}
    assert bounds["keep_days"] == 30


def test_health_and_metrics(server: Served, demo: dict[str, Any]) -> None:
    assert httpx.get(f"{server.url}/health/live").json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/health/ready").json() == {
        "status": "ok",
        "database": True,
        "worker": True,
        "storage": True,
    }
    text = httpx.get(f"{server.url}/metrics").text
    values = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line[0] != "#"
    }
    assert values['ichor_studies{state="ready"}'] >= 1
    assert values["ichor_worker_up"] == 1
    assert values["ichor_study_seconds_count"] >= 1
    assert values["ichor_uploaded_bytes_total"] >= demo_exam().stat().st_size
    assert any('route="/api/v1/studies/{study}"' in name for name in values)
    assert demo["id"] not in text
    assert demo["label"] not in text
