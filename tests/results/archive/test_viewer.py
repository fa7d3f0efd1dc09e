"""Results in a real archive, opened in a real viewer: the voxels that OHIF holds are those of the findings."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("highdicom")
pytest.importorskip("playwright")

from playwright.sync_api import Page, sync_playwright

from results.archive.peers import BROWSER_ARGUMENTS, ohif, open_series, orthanc
from results.made import Study, study_of

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

_HELD = """() => {
  const cs = window.cornerstone, tools = window.cornerstoneTools;
  if (!cs || !tools) return null;
  const found = tools.segmentation.state.getSegmentations();
  if (!found.length) return null;
  const labelmap = found[0].representationData.Labelmap;
  const images = [];
  for (const id of labelmap.imageIds || []) {
    const image = cs.cache.getImage(id);
    if (!image) return null;
    const data = image.voxelManager ? image.voxelManager.getScalarData() : image.getPixelData();
    const about = image.referencedImageId && cs.metaData.get('sopCommonModule', image.referencedImageId);
    const whole = image.referencedImageId && cs.metaData.get('instance', image.referencedImageId);
    const places = [], values = [];
    for (let k = 0; k < data.length; k++) if (data[k]) { places.push(k); values.push(data[k]); }
    images.push({sop: (about && about.sopInstanceUID) || (whole && whole.SOPInstanceUID) || null, places, values});
  }
  return images.some(i => i.places.length) ? images : null;
}"""
"""Every voxel of the label map that the viewer holds, by the image that it lies on."""


@pytest.fixture(scope="module")
def browser():
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
    )
    if found is None:
        pytest.skip("needs Chromium")
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found, args=BROWSER_ARGUMENTS)
        yield running
        running.close()


def held_by(page: Page, study: Study) -> np.ndarray:
    """Region numbers on the exam's slices, as the viewer holds them."""
    handle = page.wait_for_function(_HELD, timeout=120_000, polling=500)
    slice_of = {uid: k for k, uid in enumerate(study.exam.source.sop_instance_uids)}
    found = np.zeros(study.exam.volume.shape, np.uint8)
    for image in handle.json_value():
        if image["places"]:
            found[slice_of[image["sop"]]].reshape(-1)[image["places"]] = image["values"]
    return found


@pytest.mark.parametrize("name", ["dicom-oddities/ge_head_tilt_varspacing", "cq500/CQ500-CT-0"])
def test_the_viewer_holds_the_findings_voxel_for_voxel(name, shared_data, tmp_path, browser):
    study = study_of(shared_data / name)
    results = study.results("dicom", "pdf")
    sources = sorted(p for p in study.path.rglob("*.dcm"))
    with orthanc(tmp_path) as archive, ohif(archive) as address:
        for content in (*(p.read_bytes() for p in sources), *(made.content for made in results.objects)):
            archive.store(content)
        stored = archive.count()
        for made in results.objects:  # the same again
            archive.store(made.content)
        assert archive.count() == stored
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        open_series(page, address, study.exam.source.study_uid, "ichor regions")
        found = held_by(page, study)
        if folder := os.environ.get("ICHOR_PICTURES"):
            page.get_by_role("button", name="Yes").click()
            page.wait_for_timeout(3000)
            page.screenshot(path=Path(folder) / f"ohif-{Path(name).name}.png")
        page.close()
    assert study.findings.mask.any()
    assert np.array_equal(found, study.findings.mask)
