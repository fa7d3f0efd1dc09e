"""What a reader has at hand on the page of a study: layouts, windows, slabs, positions, cautions, the verdict in sight."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest

for extra in ("fastapi", "httpx", "playwright"):
    pytest.importorskip(extra, reason="needs the extras 'serve' and 'test-serve'")

import httpx
import nibabel
import numpy as np
import pydicom

from ichor.cli.demo import demo_exam
from ichor.notices import CAUTIONS
from ichor.preparing.windows import WINDOWS
from serving.pages.looking import Looker
from serving.served import Served, done, exam, listed, submit


@pytest.fixture
def bleed(look: Callable[..., Looker], filled_server: Served) -> Looker:
    looker = look(filled_server.url, viewport={"width": 1366, "height": 768})
    looker.open("bleed")
    looker.drawn()
    return looker


def test_the_verdict_is_saved_without_scrolling(bleed: Looker) -> None:
    for choice in ("Agree", None):
        if choice:
            bleed.page.get_by_role("radio", name=choice, exact=True).check()
        box = bleed.page.get_by_role("button", name="Save verdict").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 768
    assert bleed.page.get_by_role("heading", name="Hemorrhage suspected").is_visible()


def test_brain_subdural_and_bone_windows_stand_side_by_side(bleed: Looker) -> None:
    bleed.page.keyboard.press("n")  # pixels as they are
    bleed.page.keyboard.press("m")
    bleed.page.keyboard.press("h")
    bleed.page.locator(".planes.windows").wait_for()
    planes = bleed.page.locator(".plane[data-axis=axial]")
    assert planes.count() == 3
    bleed.drawn()
    notes = bleed.page.locator(".plane .note.top-right").all_inner_texts()
    for note, name in zip(notes, ("brain", "subdural", "bone"), strict=True):
        window = WINDOWS[name]
        assert note.split()[:4] == ["L", f"{window.level:.0f}", "W", f"{window.width:.0f}"]
        assert name.capitalize() in note
    box = bleed.page.locator(".plane canvas").first.bounding_box()
    column, row = int(box["width"] / 2) + 20, int(box["height"] / 2) + 30
    bleed.page.mouse.move(box["x"] + column + 0.5, box["y"] + row + 0.5)  # a pixel's middle
    bleed.still()
    hu = int(bleed.page.locator(".pointed").inner_text().split()[0])
    for nth, name in enumerate(("brain", "subdural", "bone")):
        grey = int(bleed.pixels(nth=nth)[row, column, 0])
        assert abs(grey - int(WINDOWS[name].to_grey([hu])[0])) <= 1, name
    # One wheel scrolls all.
    before = bleed.page.locator(".slice-number").all_inner_texts()
    bleed.page.keyboard.press("ArrowDown")
    bleed.still()
    after = bleed.page.locator(".slice-number").all_inner_texts()
    assert len(set(after)) == 1 and after != before
    bleed.page.get_by_role("combobox", name="Layout").select_option("planes")
    bleed.page.locator(".planes.three").wait_for()


def test_the_stroke_window(bleed: Looker) -> None:
    before = bleed.pixels()
    bleed.page.keyboard.press("5")
    note = bleed.page.locator(".note.top-right").first
    assert note.inner_text().split()[:5] == ["L", "40", "W", "40", "Stroke"]
    bleed.changed(before)


def test_position_and_place_are_those_of_the_exam(bleed: Looker, filled_server: Served) -> None:
    with filled_server.client() as client:
        study = next(s["id"] for s in listed(client) if s["label"] == "bleed")
        rows = client.get(f"/studies/{study}/slices").json()["slices"]
    bleed.page.keyboard.press("Home")
    for row in rows[:3]:
        bleed.still()
        shown = bleed.page.locator(".slice-position").inner_text().removesuffix(" mm").replace("\u2212", "-")
        assert float(shown) == pytest.approx(row["position_mm"], abs=0.051)
        bleed.page.keyboard.press("ArrowDown")
    image = nibabel.Nifti1Image.from_bytes(exam(0))
    bleed.page.keyboard.press("x")
    x, y = bleed.middle()
    bleed.page.mouse.click(x - 40, y + 25)
    bleed.still()
    column, row_index, slice_index = (
        int(bleed.page.locator(f".plane[data-axis={a}] .slice-number").inner_text().split("/")[0]) - 1
        for a in ("sagittal", "coronal", "axial")
    )
    # The page's columns run to the left, its rows to the back; so do those of the exam, which NIfTI counts as RAS.
    ras = image.affine @ [column, row_index, slice_index, 1]
    place = bleed.page.locator(".pointed-at").inner_text().split()
    signs = {"L": 1, "R": -1, "P": 1, "A": -1, "S": 1, "I": -1}
    found = [signs[word[0]] * int(word[1:]) for word in place]
    assert found == pytest.approx([-ras[0], -ras[1], ras[2]], abs=0.51)


def test_metal_stands_in_the_summary_and_in_the_list(
    serve: Callable[..., Served], look: Callable[..., Looker]
) -> None:
    image = nibabel.Nifti1Image.from_bytes(exam(0))
    volume = np.asarray(image.dataobj).copy()
    volume[240:275, 60:90, 3] = 3071  # a plate
    changed = nibabel.Nifti1Image(volume, image.affine)
    served = serve()
    with served.client() as client:
        study = done(client, submit(client, ("a.nii", changed.to_bytes()), alias="metal")["studies"][0]["id"])
        notices = client.get(f"/studies/{study['id']}/findings").json()["warnings"]
    (metal,) = (notice for notice in notices if notice["code"] == "metal")
    assert study["cautions"] == [notice["code"] for notice in notices if notice["code"] in CAUTIONS]
    looker = look(served.url)
    looker.page.locator("tr .tag.caution", has_text="metal").wait_for()
    looker.open("metal")
    looker.drawn()
    caution = looker.page.locator(".summary .caution[data-code=metal]")
    assert metal["message"] in caution.inner_text()
    assert metal["message"] not in looker.page.locator(".warnings").all_inner_texts()


def test_a_suspicion_without_outline_says_why(look: Callable[..., Looker], filled_server: Served) -> None:
    looker = look(filled_server.url)

    def emptied(route: object) -> None:
        """The server's own findings, without the regions."""
        answer = route.fetch()  # type: ignore[attr-defined]
        found = {**answer.json(), "regions": [], "volume_ml": 0.0}
        route.fulfill(response=answer, json=found)  # type: ignore[attr-defined]

    looker.page.route("**/findings", emptied)
    looker.page.route("**/mask.nii.gz", lambda route: route.fulfill(status=404))
    looker.open("bleed")
    looker.drawn()
    summary = looker.page.locator(".summary").inner_text()
    assert "Hemorrhage suspected" in summary
    assert "Nothing is outlined" in summary
    looker.page.unroute_all()
    looker.page.reload()
    looker.drawn()
    assert "Nothing is outlined" not in looker.page.locator(".summary").inner_text()


def test_an_empty_page_offers_the_simulated_exam_which_is_seen_in_slabs(
    serve: Callable[..., Served], look: Callable[..., Looker]
) -> None:
    looker = look(serve().url)
    looker.page.get_by_role("button", name="Load the simulated exam").click()
    looker.wait_states(1, ("ready",))
    looker.page.locator("a.open").click()
    looker.drawn()
    assert looker.page.get_by_role("heading", name="Hemorrhage suspected").is_visible()
    with zipfile.ZipFile(demo_exam()) as archive:
        headers = [
            pydicom.dcmread(io.BytesIO(archive.read(name)), stop_before_pixels=True)
            for name in archive.namelist()
        ]
    headers.sort(key=lambda header: float(header.ImagePositionPatient[2]))
    for key, header in (("Home", headers[0]), ("End", headers[-1])):
        looker.page.keyboard.press(key)
        looker.still()
        assert looker.page.locator(".slice-instance").inner_text() == f"Image {header.InstanceNumber}"
    looker.page.keyboard.press("j")
    looker.page.keyboard.press("m")
    looker.page.keyboard.press("n")  # pixels as they are
    looker.page.wait_for_timeout(300)
    single = looker.pixels()
    looker.page.get_by_role("combobox", name="Slab").select_option("MIP 20 mm")
    slab = looker.changed(single).astype(int)
    assert "MIP 20 mm" in looker.page.locator(".note.top-right").first.inner_text()
    inside = slice(None), slice(0, int(single.shape[1] * 0.85))  # without the scale at its edge
    assert (slab[inside] >= single.astype(int)[inside] - 2).all()
    looker.page.keyboard.press("t")  # after the thickest slab: none
    looker.page.wait_for_timeout(300)
    assert np.abs(looker.pixels().astype(int) - single).mean() < 1


@pytest.mark.parametrize("path", ["nowhere", "study/abc", "worklist/", "assets", "index.html/x"])
def test_unknown_paths_are_not_found(filled_server: Served, path: str) -> None:
    assert httpx.get(f"{filled_server.url}/{path}").status_code == 404
    assert httpx.get(f"{filled_server.url}/").status_code == 200


def test_an_uncertain_result_is_said_in_a_readers_words(
    look: Callable[..., Looker], filled_server: Served
) -> None:
    with filled_server.client() as client:
        study = next(s["id"] for s in listed(client) if s["label"] == "none")
        findings = client.get(f"/studies/{study}/findings").json()
    looker = look(filled_server.url)
    looker.page.route(
        f"**/{study}/findings",
        lambda route: route.fulfill(json={**findings, "uncertain": True, "uncertainty": "Measured so."}),
    )
    looker.open("none")
    looker.drawn()
    caution = looker.page.locator(".caution", has_text="Borderline")
    assert "as if the model had given no answer" in caution.inner_text().replace("\n", " ")
    measured = caution.get_by_text("Measured so.")
    assert not measured.is_visible()
    caution.get_by_text("How this was measured").click()
    assert measured.is_visible()
