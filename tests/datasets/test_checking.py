"""A data set looked through: what is whole, what is broken, where labels and files disagree."""

import csv

import numpy as np
import pytest
from PIL import Image

from ichor.datasets import checking
from ichor.datasets.checking import check
from ichor.datasets.labelled import UNKNOWN
from ichor.errors import UsageError


def quiet(text, done):
    assert text and 0 <= done <= 1


def slice_picture(seed):
    yy, xx = np.mgrid[:128, :128]
    r = np.hypot((yy - 64) / 1.1, xx - 64)
    noise = np.random.default_rng(seed).normal(0, 3, (128, 128))
    return np.where(r < 45, 110 + noise, np.where(r < 52, 255, 0)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def head_ct(tmp_path):
    root = tmp_path / "head-ct-hemorrhage"
    (root / "head_ct").mkdir(parents=True)
    with (root / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", " hemorrhage"])
        for n in range(6):
            rows.writerow([n, int(n < 2)])
            Image.fromarray(slice_picture(n)).save(root / "head_ct" / f"{n:03d}.png")
    return tmp_path


def test_a_whole_data_set(head_ct):
    found = check("head-ct-hemorrhage", head_ct, quiet)
    assert found.faults == [] and found.unreadable == [] and found.notes == []
    assert found.counts == {"pictures": 6, "slices read": 6}
    assert found.positives["any"] == (2, 0) and found.positives["subdural"] == (0, 2)


def test_a_part_of_it(head_ct):
    found = check("head-ct-hemorrhage", head_ct, quiet, most=3)
    assert found.counts == {"pictures": 6, "slices read": 3} and found.notes == ["3 of 6 pictures were read"]
    assert check("head-ct-hemorrhage", head_ct, quiet, most=0).counts["slices read"] == 0


def test_corrupt_files_are_each_told_and_stop_nothing(head_ct):
    folder = head_ct / "head-ct-hemorrhage" / "head_ct"
    whole = (folder / "001.png").read_bytes()
    (folder / "001.png").write_bytes(whole[: len(whole) // 2])
    (folder / "004.png").write_bytes(b"no picture")
    found = check("head-ct-hemorrhage", head_ct, quiet)
    assert found.unreadable == ["001", "004"]
    assert [f.partition(":")[0] for f in found.faults] == ["001", "004"]
    assert found.counts["slices read"] == 4


def test_a_broken_layout_is_a_fault(head_ct):
    (head_ct / "head-ct-hemorrhage" / "head_ct" / "003.png").unlink()
    (fault,) = check("head-ct-hemorrhage", head_ct, quiet).faults
    assert "003.png" in fault and "get the data set again" in fault


def test_what_is_not_there_says_how_to_get_it(tmp_path):
    with pytest.raises(UsageError, match="ichor data get bhsd"):
        check("bhsd", tmp_path, quiet)
    assert "found no such data set" in check("bsdh", tmp_path, quiet).faults[0]


def test_labels_against_masks_and_images(head_ct, monkeypatch):
    from ichor.datasets.registry import open_dataset

    item = open_dataset("head-ct-hemorrhage", head_ct).load("003")
    assert checking._disagreements(item, (1, 6)) == []
    item.blood[0, 5, 5] = UNKNOWN
    assert checking._disagreements(item, (1, 6)) == []
    item.blood[0, 5, 5] = 5
    assert checking._disagreements(item, (1, 6)) == [
        "found a mask on 1 slices labelled negative; expected none"
    ]
    item.blood[:] = 0
    item.labels[0, 5] = 1
    assert checking._disagreements(item, (2, 6)) == [
        "found labels of 2 slices; expected 1, as its images have",
        "found a subtype on 1 slices without any hemorrhage; expected any = 1 there",
    ]
    item.exam.volume[:] = 7
    assert "found images of one value; expected a head" in checking._disagreements(item, (1, 6))


def test_the_real_ones_have_no_faults(shared_data):
    for name, n in (("ct-ich", 66), ("head-ct-hemorrhage", 140), ("cq500", 1)):
        found = check(name, shared_data, quiet, most=3)
        assert found.faults == [] and next(iter(found.counts.values())) == n
