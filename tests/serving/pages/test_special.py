"""What is seen only of some studies, or where the server is told to: a server of its own, shared by these tests."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for extra in ("fastapi", "httpx", "playwright"):
    pytest.importorskip(extra, reason="needs the extras 'serve' and 'test-serve'")

import nibabel
import pydicom
from PIL import Image
from playwright.sync_api import expect

import ichor
from ichor.cli.demo import demo_exam
from ichor.detecting import load_bundle
from ichor.preparing import WINDOWS
from serving.pages.looking import Looker, warmth
from serving.served import Served, done, events, submit, until


def named_exam(number: str, **given_tags: str) -> bytes:
    """A few slices of the simulated exam as a zip of DICOM files that name a patient."""
    tags = {"PatientName": "Qvist^Berta", "PatientID": "QB-4711", "AccessionNumber": "ACC-0815", **given_tags}
    stream = io.BytesIO()
    with zipfile.ZipFile(demo_exam()) as given, zipfile.ZipFile(stream, "w") as made:
        for name in sorted(given.namelist())[2::5]:
            data = pydicom.dcmread(io.BytesIO(given.read(name)))
            for keyword, value in tags.items():
                setattr(data, keyword, value)
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
                setattr(data, keyword, f"{data[keyword].value}.{number}")
            data.ConvolutionKernel, data.SliceThickness = "H31s", 5
            content = io.BytesIO()
            data.save_as(content)
            made.writestr(name, content.getvalue())
    return stream.getvalue()


def one(client: Any, name: str) -> dict[str, Any]:
    """The row of a study, by its name in the list."""
    return next(row for row in client.get("/studies").json()["items"] if row["label"] == name)


@pytest.fixture(scope="module")
def special(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that shows identities, and whose model outlines nothing, so large must a bleed be.

    It has exams of two patients, made of the simulated one.
    """
    folder = tmp_path_factory.mktemp("special")
    shutil.copytree(load_bundle("default").folder, folder / "bundle")
    manifest = json.loads((folder / "bundle" / "bundle.json").read_text())
    manifest["localisation"] |= {"min_volume_ml": 1000.0}
    (folder / "bundle" / "bundle.json").write_text(json.dumps(manifest))
    options = ("--bundle", str(folder / "bundle"), "--show-identity")
    served = Served(folder / "state", *options).start()
    with served.client() as client:
        for name, content in (
            ("earlier", named_exam("1", StudyDate="20250102", StudyDescription="Head before")),
            ("later", named_exam("2", StudyDate="20260304", StudyDescription="Head after")),
            ("other", named_exam("3", StudyDate="20240101", PatientName="Zwick^Ada")),
        ):
            done(client, submit(client, (f"{name}.zip", content), alias=name)["studies"][0]["id"])
    yield served
    served.stop()


def test_suspected_without_an_outline_says_why_and_shows_the_heat_map(
    special: Served, look: Callable[..., Looker], tmp_path: Path
) -> None:
    with special.client() as client:
        row = one(client, "later")
        get: Callable[[str], Any] = lambda name: client.get(f"/studies/{row['id']}/{name}")  # noqa: E731
        findings, report = get("findings").json(), get("report.html").text
        for name in ("heat.nii.gz", "volume.nii.gz"):
            (tmp_path / name).write_bytes(get(name).content)
    assert (row["flagged"], findings["regions"]) == (True, [])
    (why,) = [w["message"] for w in findings["warnings"] if w["code"] == "nothing_outlined"]
    assert "1000 mL" in why and why in report and "Heat map" in report
    heat, volume = (nibabel.load(tmp_path / name) for name in ("heat.nii.gz", "volume.nii.gz"))
    assert (tmp_path / "heat.nii.gz").stat().st_size < 200_000
    assert max(heat.shape[:2]) <= 192
    # Its hottest voxel lies, in the patient, within what is as dense as the simulated bleed.
    values = np.asarray(heat.dataobj)
    hottest = np.mean(np.argwhere(values >= values.max() - 8), axis=0)
    at = np.linalg.inv(volume.affine) @ heat.affine @ [*hottest, 1]
    x, y, z = np.rint(at[:3]).astype(int)
    assert 50 < np.median(np.asarray(volume.dataobj)[x - 3 : x + 4, y - 3 : y + 4, z]) < 100

    looker = look(special.url)
    looker.open("later")
    looker.drawn()
    page = looker.page
    expect(page.locator(".caution[data-code=nothing_outlined]")).to_contain_text("not an outline")
    expect(page.locator(".heat-note")).to_have_text("Heat map, not an outline")
    shown = looker.pixels()
    assert 0.003 < warmth(shown) < 0.3
    page.get_by_role("button", name="Heat map", exact=True).click()
    assert warmth(looker.changed(shown, share=0.003)) < warmth(shown) / 4
    expect(page.locator(".heat-note")).to_have_count(0)


SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SECRETS = ("qvist", "berta", "qb-4711", "acc-0815", "2025-01-02", "20250102", "head before")


def test_whose_a_study_is_is_shown_where_asked_for_and_leaves_nowhere(
    special: Served, look: Callable[..., Looker]
) -> None:
    with special.client() as client:
        earlier, later = one(client, "earlier"), one(client, "later")
        assert client.get("/session").json()["shows_identity"] is True
        told = client.get(f"/studies/{later['id']}/identity").json()
        assert told["identity"] == {
            "name": "Qvist Berta",
            "patient_id": "QB-4711",
            "accession": "ACC-0815",
            "date": "2026-03-04",
            "description": "Head after",
        }
        # Another patient with the same ID is nobody's prior, nor is a later exam.
        assert told["priors"] == [{"id": earlier["id"], "label": "earlier", "date": "2025-01-02"}]
        assert client.get(f"/studies/{earlier['id']}/identity").json()["priors"] == []
        items = client.get("/identities").json()["items"]
        assert items[earlier["id"]]["description"] == "Head before"
        assert client.put(f"/studies/{earlier['id']}/verdict", json={"reader": "a", "verdict": "agree"})
        left = [client.get(path).content for path in ("/studies", "/verdicts.csv", "/dataset.zip")]
        left += [
            client.get(f"/studies/{earlier['id']}/{name}").content for name in ("findings", "report.html")
        ]
        left += [json.dumps(list(events(client, 0))).encode(), "\n".join(special.log).encode()]
        left += [str(path).encode() for path in special.state.rglob("*")]
        for content in left:
            assert not [secret for secret in SECRETS if secret.encode() in content.lower()]

    looker = look(special.url)
    page = looker.page
    expect(page.locator(f"tr[data-id='{earlier['id']}'] .whose")).to_contain_text(
        "Qvist Berta · ID QB-4711 · 2025-01-02"
    )
    looker.open("later")
    looker.drawn()
    expect(page.locator(".study-head .whose")).to_contain_text("accession ACC-0815")
    expect(page.locator(".plane.main .note.top-left")).to_contain_text("Kernel H31sThickness 5 mm")
    expect(page.locator(".prior-offer")).to_contain_text("Earlier exam of this patient: 2025-01-02")
    page.locator(".prior-offer").get_by_role("link", name="Side by side").click()
    expect(page.locator(".prior .note.top-left")).to_contain_text("earlier, 2025-01-02")
    assert page.title() == "Study · ichor"
    assert page.evaluate("JSON.stringify(localStorage)").lower().count("qvist") == 0


def test_a_server_that_is_not_asked_forgets_whose_studies_they_were(
    special: Served, serve: Callable[..., Served], tmp_path: Path
) -> None:
    """Of a copy of the state: the first server goes on."""
    shutil.copytree(special.state, tmp_path / "state", ignore=shutil.ignore_patterns("*.lock"))
    held = b"".join(path.read_bytes() for path in (tmp_path / "state").glob("ichor.db*"))
    assert b"QB-4711" in held
    plain = serve(state=tmp_path / "state")
    with plain.client() as client:
        study = one(client, "later")["id"]
        assert client.get("/session").json()["shows_identity"] is False
        assert client.get(f"/studies/{study}/identity").json()["code"] == "not_shown"
        assert client.get("/identities").json()["code"] == "not_shown"
    held = b"".join(path.read_bytes() for path in plain.state.glob("ichor.db*"))
    assert b"QB-4711" not in held


def test_a_refused_study_shows_its_series_and_another_is_chosen(
    special: Served, look: Callable[..., Looker]
) -> None:
    captured = named_exam("4", SOPClassUID=SECONDARY_CAPTURE, Modality="OT", StudyDate="20260505")
    with special.client() as client:
        study = submit(client, ("captured.zip", captured), alias="captured")["studies"][0]["id"]
        row = done(client, study)
        assert (row["state"], row["refusal"]["code"]) == ("refused", "secondary_capture")
        (offer,) = row["series"]
        assert (offer["images"], offer["kernel"], offer["picture"]) == (6, "H31s", True)
        picture = client.get(f"/studies/{study}/series/0.png")
        with Image.open(io.BytesIO(picture.content)) as shown:
            assert max(shown.size) == 256 and np.asarray(shown).std() > 20
        assert client.get(f"/studies/{study}/series/1.png").status_code == 404
        wrong = client.post(f"/studies/{study}/series", json={"series": "2.25.1"})
        assert (wrong.status_code, wrong.json()["code"]) == (409, "not_offered")
        assert list((special.state / "uploads").iterdir())

        looker = look(special.url)
        looker.open("captured")
        expect(looker.page.get_by_alt_text("Middle slice of series 1")).to_be_visible()
        looker.page.get_by_role("button", name="Assess this series").click()
        looker.drawn()
        now = done(client, study)
        assert (now["state"], now["n_slices"], now["series"]) == ("ready", 6, [])
        assert now["id"] == study
        codes = [w["code"] for w in client.get(f"/studies/{study}/findings").json()["warnings"]]
        assert "series_chosen" in codes
        until(lambda: not list((special.state / "uploads").iterdir()), "the upload to be gone")


def test_many_pictures_are_one_exam_where_the_reader_says_so(
    special: Served, look: Callable[..., Looker], tmp_path: Path
) -> None:
    volume = ichor.read(demo_exam()).volume[2::3]
    pictures = []
    for k, plane in enumerate(volume, start=1):  # in order as people number them, not letter by letter
        pictures.append(tmp_path / f"slice {k}.png")
        Image.fromarray(WINDOWS["brain"].to_grey(plane)).save(pictures[-1])
    looker = look(special.url)
    page = looker.page
    page.locator("[data-input=files]").set_input_files(pictures[::-1])
    page.get_by_label("mm from slice to slice").fill("15")
    page.get_by_label("mm a pixel, if known").fill("0,5")
    page.get_by_role("button", name="These are one exam").click()
    with special.client() as client:

        def stacks() -> list[dict[str, Any]]:
            return [row for row in client.get("/studies").json()["items"] if row["n_slices"] == len(pictures)]

        until(lambda: bool(stacks()), "the stack")
        row = done(client, stacks()[0]["id"])
        findings = client.get(f"/studies/{row['id']}/findings").json()
        (tmp_path / "stack.nii.gz").write_bytes(client.get(f"/studies/{row['id']}/volume.nii.gz").content)
    assert (row["kind"], row["state"]) == ("exam", "ready")
    assert findings["spacing_mm"] == [15.0, 0.5, 0.5]
    assert "picture_stack" in [w["code"] for w in findings["warnings"]]
    shown = np.asarray(nibabel.load(tmp_path / "stack.nii.gz").dataobj).transpose(2, 1, 0)
    alike = [
        np.corrcoef(a.ravel(), np.clip(b, 0, 80).ravel())[0, 1] for a, b in zip(shown, volume, strict=True)
    ]
    assert min(alike) > 0.9


def test_another_model_is_chosen_on_the_page(
    serve: Callable[..., Served], look: Callable[..., Looker]
) -> None:
    served = serve(wait=False)
    looker = look(f"{served.url}/#/about")
    models = looker.page.get_by_role("list", name="Models")
    rows = models.locator("> li")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("(in use)")
    row = rows.nth(1)
    expect(row).to_contain_text("fast")
    expect(rows.last).to_contain_text("open")
    row.get_by_role("radio").check()
    expect(row).to_contain_text("(in use)")
    expect(row).to_contain_text("exam AUC, any")
    with served.client() as client:
        assert client.get("/model").json()["bundle"]["name"] == "fast"
    looker.page.reload()
    expect(row.get_by_role("radio")).to_be_checked()
