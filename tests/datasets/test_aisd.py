"""AISD: made exams of the same form, and the three that lie on the disk."""

import csv

import numpy as np
import pytest

from datasets.made import SPEC, exam
from ichor.datasets.registry import open_dataset
from ichor.datasets.splits import split_of
from ichor.errors import RefusedInput, UsageError

HEAD = "exam,slice,hemorrhage,finding,z,thickness,spacing,manufacturer,kernel,kvp"


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "aisd"
    (root / "hu").mkdir(parents=True)
    with (root / "slices.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(HEAD.split(","))
        for number in (7, 8):
            np.savez_compressed(root / "hu" / f"{number:03d}.npz", hu=exam(number).volume)
            for k in range(9):
                z = -50.5 + 9.05 * k
                table.writerow(
                    [f"{number:03d}", k, 0, "acute ischaemic stroke", z, 9.0, 0.45, "SIEMENS", "H30s", 130.0]
                )
    return tmp_path


def test_an_exam_has_its_geometry_and_no_hemorrhage(data):
    dataset = open_dataset("aisd", data)
    item = dataset.load("007")
    geometry = item.exam.geometry
    assert np.array_equal(item.exam.volume, exam(7).volume) and geometry.spacing == (0.45, 0.45)
    assert (
        geometry.spacing_known
        and geometry.slice_step == pytest.approx(9.05)
        and geometry.thickness.tolist() == [9.0] * 9
    )
    assert geometry.distances[0] == pytest.approx(-50.5)
    assert not item.labels.any() and not item.blood.any() and item.hu_confidence == "measured"
    assert dataset.subgroup_values("007") == {"thickness_mm": 9.0}
    assert item.exam.source.details == {"manufacturer": "SIEMENS", "kernel": "H30s", "kvp": "130.0"}
    assert dataset.patients()["008"].tolist() == [0] * 6
    assert set(split_of(dataset, 2, 0).folds.values()) == {0, 1}


def test_a_store_of_it(data):
    pytest.importorskip("zarr", reason="needs the extra 'train'")
    from ichor.datasets.store_build import build_store

    store = build_store(open_dataset("aisd", data), SPEC, data / "stores", lambda _: None, 1, 4)
    assert store.patients == ("007", "008") and not store.single.any() and not store.labels.any()
    assert np.diff(store.distances[store.exam == 0]) == pytest.approx(9.05)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("007,1,0", "007,2,0", r"line 3: found slice 2; expected 1: an exam's slices in order from 0"),
        ("007,1,0", "007,1,2", "line 3: found hemorrhage = '2'"),
        (
            ",-41.45,9.0,0.45,SIEMENS,H30s,130.0\r\n007,2",
            ",-60,9.0,0.45,SIEMENS,H30s,130.0\r\n007,2",
            "line 3: found z = -60; expected more than -50.5",
        ),
        ("008,0,0", "009,0,0", r"line 11: found no hu/009\.npz"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(data, old, new, says):
    path = data / "aisd" / "slices.csv"
    text = path.read_bytes().decode()
    assert text.count(old) == 1
    path.write_bytes(text.replace(old, new).encode())
    with pytest.raises(UsageError, match=says):
        open_dataset("aisd", data).patients()


def test_a_broken_volume_is_refused_by_name(data):
    path = data / "aisd" / "hu" / "007.npz"
    dataset = open_dataset("aisd", data)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(
        RefusedInput, match=r"aisd/007: found no volume that can be read in hu/007\.npz \(BadZipFile\)"
    ):
        dataset.load("007")
    np.savez_compressed(path, hu=exam(7).volume[:5])
    with pytest.raises(RefusedInput, match=r"found a volume of \(5, 64, 64\) int16.*expected 9 slices"):
        dataset.load("007")


def test_the_published_exams(shared_data):
    if not (shared_data / "aisd").is_dir():
        pytest.skip("needs ../shared/data/aisd")
    dataset = open_dataset("aisd", shared_data)
    exams = {item.patient: item for item in dataset}
    assert {p: item.exam.n_slices for p, item in exams.items()} == {
        "0019983": 17,
        "0091454": 14,
        "0226308": 14,
    }
    for item in exams.values():
        middle = item.exam.volume[item.exam.n_slices // 2]
        assert middle.min() <= -1000 and middle.max() > 700 and 20 < np.median(middle[206:306, 180:330]) < 45
        assert 7.9 < item.exam.geometry.slice_step < 9.2 and not item.labels.any()
