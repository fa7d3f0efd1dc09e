"""Reading: what the viewer shows is the exam, and it does what is asked."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

for extra in ("fastapi", "httpx", "playwright"):
    pytest.importorskip(extra, reason="needs the extras 'serve' and 'test-serve'")

from playwright.sync_api import expect

from serving.pages.looking import Looker
from serving.served import Served, listed

RENDERERS = ("plain", "niivue")


@pytest.fixture(params=RENDERERS)
def bleed(request: pytest.FixtureRequest, look: Callable[..., Looker], filled_server: Served) -> Looker:
    """The bleeding exam, opened, by both ways of drawing; small, as WebGL is slow without a graphics card."""
    looker = look(filled_server.url, renderer=request.param, viewport={"width": 1000, "height": 640})
    looker.open("bleed")
    looker.drawn()
    return looker


def test_the_wheel_scrolls(bleed: Looker) -> None:
    before, at = bleed.pixels(), bleed.slice()
    bleed.page.mouse.move(*bleed.middle())
    bleed.page.mouse.wheel(0, 100 if at < 6 else -100)
    bleed.changed(before)
    assert abs(bleed.slice() - at) == 1


def test_the_strip_scrolls(bleed: Looker) -> None:
    before = bleed.pixels()
    bars = bleed.page.get_by_role("slider", name="Slice, with the probability")
    box = bars.bounding_box()
    bleed.page.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    assert bleed.slice() == 1
    first = bleed.changed(before)
    bleed.page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    assert bleed.slice() == 6
    bleed.changed(first)
    bars.focus()
    bleed.page.keyboard.press("ArrowLeft")
    assert bleed.slice() == 5
    bleed.page.get_by_role("button", name="Most suspicious").click()
    with_bleed = bars.get_attribute("aria-valuetext")
    assert with_bleed is not None and float(with_bleed.rpartition(" ")[2].strip("<>")) > 0.5


def test_presets_by_key_and_the_window_by_mouse(bleed: Looker) -> None:
    seen = bleed.pixels()
    for key, words in (("2", "L 80 W 200"), ("3", "L 400 W 1800"), ("4", "L 40 W 380"), ("1", "L 40 W 80")):
        bleed.page.keyboard.press(key)
        expect(bleed.page.locator(".note.top-right").first).to_contain_text(words)
        seen = bleed.changed(seen)
    x, y = bleed.middle()
    bleed.page.mouse.move(x, y)
    bleed.page.mouse.down(button="right")
    bleed.page.mouse.move(x + 90, y + 40, steps=4)
    bleed.page.mouse.up(button="right")
    bleed.changed(seen)
    words = bleed.page.locator(".note.top-right").first.inner_text().split()
    assert int(words[1]) > 40 and int(words[3]) > 80


def test_the_mask_goes_on_and_off(bleed: Looker) -> None:
    shown = bleed.pixels()
    bleed.page.keyboard.press("m")
    hidden = bleed.changed(shown, share=0.0005)
    # Without outlines and cross the axial plane is grey, but for the scale at its right edge.
    inside = hidden[:, : int(hidden.shape[1] * 0.85)].astype(int)
    assert (inside.max(axis=2) - inside.min(axis=2)).max() <= 2
    slider = bleed.page.get_by_role("slider", name="Opacity of the outlines")
    bleed.page.keyboard.press("m")
    full = bleed.changed(hidden, share=0.0005)
    slider.fill("20")
    bleed.changed(full, share=0.0005)


def test_zoom_move_and_reset(bleed: Looker) -> None:
    rest = bleed.pixels()
    x, y = bleed.middle()
    bleed.page.mouse.move(x, y)
    bleed.page.keyboard.down("Control")
    bleed.page.mouse.wheel(0, -200)
    bleed.page.keyboard.up("Control")
    near = bleed.changed(rest)
    bleed.page.keyboard.down("Shift")
    bleed.page.mouse.down()
    bleed.page.mouse.move(x + 60, y + 30, steps=3)
    bleed.page.mouse.up()
    bleed.page.keyboard.up("Shift")
    bleed.changed(near)
    bleed.page.keyboard.press("r")
    bleed.page.wait_for_timeout(300)
    assert np.abs(bleed.pixels().astype(int) - rest).mean() < 1


def test_both_ways_of_drawing_show_the_same(look: Callable[..., Looker], filled_server: Served) -> None:
    seen = {}
    for renderer in RENDERERS:
        looker = look(filled_server.url, renderer=renderer, viewport={"width": 1000, "height": 640})
        looker.open("bleed")
        looker.drawn()
        if not looker.page.locator(".planes.three").count():
            looker.page.keyboard.press("v")
        looker.page.keyboard.press("m")
        x, y = looker.middle()
        looker.page.mouse.click(
            x + 50, y - 40
        )  # away from the middle: a mirrored plane would show another slice
        looker.page.mouse.move(x + 30, y - 20)
        looker.page.keyboard.down("Control")
        looker.page.mouse.wheel(0, -150)
        looker.page.keyboard.up("Control")
        looker.page.wait_for_timeout(1500)
        seen[renderer] = {
            axis: looker.pixels(axis).astype(float) for axis in ("axial", "coronal", "sagittal")
        }
    for axis, least in (("axial", 0.99), ("coronal", 0.9), ("sagittal", 0.9)):
        one, other = seen["plain"][axis], seen["niivue"][axis]
        assert one.shape == other.shape
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > least, axis


def numbers_of(looker: Looker) -> tuple[int, int, int]:
    """Column, row and slice that the three planes pass through, from 0."""
    found = {
        axis: int(looker.page.locator(f".plane[data-axis={axis}] .slice-number").inner_text().split("/")[0])
        - 1
        for axis in ("sagittal", "coronal", "axial")
    }
    return found["sagittal"], found["coronal"], found["axial"]


def test_values_and_lengths_are_those_of_the_exam(look: Callable[..., Looker], filled_server: Served) -> None:
    with filled_server.client() as client:
        study = next(s["id"] for s in listed(client) if s["label"] == "bleed")
        packed = client.get(f"/studies/{study}/volume.nii.gz").content
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(packed))
    hu = np.asarray(image.dataobj)  # columns to the patient's left, rows to the back, slices to the vertex
    looker = look(filled_server.url)
    looker.open("bleed")
    looker.drawn()
    looker.page.locator(".planes.three").wait_for()
    x, y = looker.middle()
    places = []
    for dx, dy in ((-110, -60), (0, 0), (90, 120)):
        looker.page.mouse.click(x + dx, y + dy)
        looker.still()
        place = numbers_of(looker)
        assert looker.page.locator(".pointed").inner_text() == f"{hu[place]} HU"
        places.append(place)
    assert len({(c, r) for c, r, _ in places}) == 3
    looker.page.keyboard.press("l")
    looker.page.mouse.move(x - 110, y - 60)
    looker.page.mouse.down()
    looker.page.mouse.move(x + 90, y + 120, steps=5)
    looker.page.mouse.up()
    told = looker.page.get_by_role("list", name="Measures").inner_text()
    steps = image.header.get_zooms()
    apart = [(b - a) * float(step) for a, b, step in zip(places[0], places[2], steps, strict=True)]
    assert abs(float(told.split(" mm")[0]) - np.hypot(apart[0], apart[1])) < 1.5 * float(steps[0])


def test_no_other_patients_images_are_ever_shown(look: Callable[..., Looker], filled_server: Served) -> None:
    looker = look(filled_server.url)
    looker.open("bleed")
    looker.drawn()
    with filled_server.client() as client:
        refused = next(s["id"] for s in listed(client) if s["label"] == "refused")
    looker.page.goto(f"{looker.url}/#/study/{refused}")
    looker.page.get_by_role("heading", name="Not assessed").wait_for()
    assert looker.page.locator(".plane").count() == 0
    assert "no images" in looker.page.locator(".waiting").inner_text()
    # Of a study whose images are slow to come, none but its own.
    looker.page.route(
        "**/volume.nii.gz", lambda route: (looker.page.wait_for_timeout(1500), route.continue_())
    )
    looker.open("none")
    assert looker.page.locator(".plane").count() == 0
    looker.drawn()


def test_side_by_side_scrolls_together(look: Callable[..., Looker], filled_server: Served) -> None:
    looker = look(filled_server.url)
    looker.open("bleed")
    looker.drawn()
    looker.page.keyboard.press("c")
    looker.page.get_by_role("dialog").get_by_role("button", name="none").click()
    looker.page.locator(".prior canvas[data-drawn]").wait_for()
    numbers = looker.page.locator(".slice-number")
    first = numbers.all_inner_texts()
    looker.page.mouse.move(*looker.middle())
    looker.page.mouse.wheel(0, 100 if not first[0].startswith("6") else -100)
    looker.still()
    assert all(a != b for a, b in zip(first, numbers.all_inner_texts(), strict=True))


def test_findings_are_those_of_the_api(look: Callable[..., Looker], filled_server: Served) -> None:
    with filled_server.client() as client:
        study = next(s for s in listed(client) if s["label"] == "bleed")
        findings = client.get(f"/studies/{study['id']}/findings").json()
    looker = look(filled_server.url)
    looker.open("bleed")
    looker.drawn()
    panel = looker.page.locator(".panel").inner_text()
    assert "Hemorrhage suspected" in panel
    assert f"{findings['volume_ml']:.1f} mL" in panel
    assert "Research use, not a medical device" in panel
    for name, value in findings["probabilities"].items():
        row = looker.page.get_by_role("radio", name=name.capitalize() if name != "any" else "Any hemorrhage")
        spoken = row.get_attribute("aria-label")
        assert spoken is not None
        assert ("suspected" in spoken) == findings["positive"][name]
        if 0.005 < value < 0.995:
            assert f"{value:.2f}" in spoken
    with looker.page.expect_download() as download:
        looker.page.get_by_role("link", name="Mask (NIfTI)").click()
    mask = nibabel.Nifti1Image.from_stream(
        gzip.GzipFile(fileobj=io.BytesIO(download.value.path().read_bytes()))
    )
    assert set(np.unique(mask.dataobj)) == {0, *range(1, len(findings["regions"]) + 1)}


def test_over_an_uneven_tilted_stack_one_scrolls_by_its_own_slices(
    serve: Callable[..., Served], look: Callable[..., Looker], shared_data: Path
) -> None:
    served = serve()
    looker = look(served.url)
    folder = shared_data / "dicom-oddities" / "ge_head_tilt_varspacing"
    looker.page.locator("[data-input=folder]").set_input_files(str(folder))
    looker.wait_states(1, ("ready",))
    with served.client() as client:
        (study,) = listed(client)
        display = client.get(f"/studies/{study['id']}/slices").json()["display"]
    assert display["shape"][0] > study["n_slices"] == 28  # uneven: some are shown more than once
    looker.page.locator("a.open").click()
    looker.drawn()
    looker.page.keyboard.press("Home")
    seen = [looker.slice()]
    for _ in range(27):
        looker.page.keyboard.press("ArrowDown")
        looker.still()
        seen.append(looker.slice())
    assert seen == list(range(1, 29))
    panel = looker.page.locator(".panel").inner_text()
    assert "gantry tilt" in panel
