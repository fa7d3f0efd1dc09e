"""A study on the page where the model draws no map: what spoke for a hemorrhage, marked as no outline."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

for module in ("fastapi", "httpx", "playwright", "onnx"):
    pytest.importorskip(module, reason="needs the extras 'serve', 'test-serve' and, to make graphs, 'train'")

from playwright.sync_api import expect

from detecting.classifiers import save_classifier
from ichor.detecting import load_bundle
from serving.pages.looking import Looker, warmth
from serving.served import Served, done, exam, submit


def test_grad_cam_lies_over_the_slices_and_is_called_no_outline(
    tmp_path: Path, look: Callable[..., Looker]
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(load_bundle("default").folder, bundle)
    save_classifier(bundle, explains=True)
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    manifest["thresholds"]["any"]["probability"] = 0.01
    (bundle / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    served = Served(tmp_path / "state", "--bundle", str(bundle)).start()
    try:
        with served.client() as client:
            done(client, submit(client, ("a.nii", exam(0)), alias="bleed")["studies"][0]["id"])
        looker = look(served.url)
        looker.open("bleed")
        looker.drawn()
        page = looker.page
        expect(page.locator(".heat-note")).to_have_text("Grad-CAM, not an outline")
        expect(page.locator("[data-code=grad_cam]")).to_contain_text("Grad-CAM")
        warm = looker.pixels()
        page.get_by_role("button", name="Grad-CAM", exact=True).click()
        assert warmth(looker.changed(warm)) < warmth(warm) / 4
        expect(page.locator(".heat-note")).to_have_count(0)
        expect(page.get_by_role("link", name="Mask", exact=False)).to_have_count(0)
    finally:
        served.stop()
