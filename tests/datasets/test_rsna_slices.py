"""Single slices of RSNA 2019, each in its own window: made ones of the same form, and those that lie on the disk."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from ichor.datasets.labelled import UNKNOWN
from ichor.datasets.registry import DATASETS, open_dataset
from ichor.datasets.splits import split_of
from ichor.errors import RefusedInput, UsageError

HEAD = [
    "id",
    "file",
    "pixels",
    "hemorrhage",
    "epidural",
    "intraparenchymal",
    "intraventricular",
    "subarachnoid",
    "subdural",
    "group",
    "width",
    "center",
    "center_from",
]
LEVEL_HU = {"ID_a": 40, "ID_b": 36, "ID_c": 38.8, "ID_d": 40, "ID_e": 40, "ID_f": 40, "ID_g": 35, "ID_h": 35}
WINDOWS = {
    "ID_a": ("80", "40", "measured"),
    "ID_b": ("80", "36", "levels (as 193 real RSNA DICOM)"),
    "ID_c": ("150", "38.8", "guess from the brain peak"),
    "ID_d": ("135", "", "unknown (30, 36, 40 or 47)"),
    "ID_e": ("", "", "unknown"),
    "ID_f": ("80", "40", "measured"),
    "ID_g": ("100", "35", "measured"),
    "ID_h": ("100", "35", "measured"),
}
LABELS = {"ID_a": "101000", "ID_c": "100001", "ID_d": "1     ", "ID_f": "      ", "ID_h": "100010"}


def grey_of(width, center, hu):
    return np.clip(np.rint((hu - center + width / 2) * 255 / width), 0, 255).astype(np.uint8)


def head_hu(seed):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:128, :128]
    radius = np.hypot((yy - 64) / 58, (xx - 64) / 48)
    brain = 34 + rng.normal(0, 2, radius.shape)
    brain[np.hypot(yy - rng.integers(45, 80), xx - rng.integers(45, 80)) < rng.integers(6, 14)] = 8
    return np.where(radius < 0.9, brain, np.where(radius < 1, 900, -1000))


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "rsna-slices"
    (root / "images").mkdir(parents=True)
    with (root / "slices.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(HEAD)
        for k, (name, (width, center, known)) in enumerate(WINDOWS.items()):
            grey = grey_of(float(width or 80), LEVEL_HU[name], head_hu(k))
            Image.fromarray(grey).save(root / "images" / f"{name}.jpg", quality=95)
            labels = [label.strip() for label in LABELS.get(name, "000000")]
            table.writerow([name, f"images/{name}.jpg", 128, *labels, f"g{k // 2}", width, center, known])
    return tmp_path


def test_a_slice_is_in_hu_by_its_own_window(data):
    dataset = open_dataset("rsna-slices", data)
    for name, (width, _, _) in WINDOWS.items():
        item = dataset.load(name)
        assert item.exam.n_slices == 1 and not item.exam.geometry.spacing_known
        low, high = LEVEL_HU[name] - float(width or 80) / 2, LEVEL_HU[name] + float(width or 80) / 2
        if name != "ID_d":  # its level is one of four
            assert item.hu_range == (low, high)
            brain = item.exam.volume[0, 60:70, 20:110]
            assert abs(np.median(brain) - 34) <= 1
        assert item.exam.volume.min() == round(item.hu_range[0]) and item.exam.volume.max() == round(
            item.hu_range[1]
        )


def test_what_is_known_of_a_window_is_kept(data):
    dataset = open_dataset("rsna-slices", data)
    confidence = {name: dataset.load(name).hu_confidence for name in ["ID_a", "ID_b", "ID_c", "ID_d", "ID_e"]}
    assert confidence == {
        "ID_a": "measured",
        "ID_b": "inferred",
        "ID_c": "guessed",
        "ID_d": "unknown",
        "ID_e": "unknown",
    }
    assert dataset.window("ID_d").levels == (30, 36, 40, 47) and dataset.window("ID_d").window.level == 38.25
    assert dataset.window("ID_e").levels == () and dataset.window("ID_e").window.width == 80
    (note,) = dataset.notes
    assert note.startswith("2 slices have a window whose level is not known")


def test_labels_that_are_empty_are_unknown(data):
    labels = open_dataset("rsna-slices", data).patients()
    assert labels["ID_a"].tolist() == [1, 0, 1, 0, 0, 0] and labels["ID_b"].tolist() == [0] * 6
    assert labels["ID_d"][0] == 1 and np.isnan(labels["ID_d"][1:]).all() and np.isnan(labels["ID_f"]).all()
    dataset = open_dataset("rsna-slices", data)
    assert (dataset.load("ID_a").blood == UNKNOWN).all() and (dataset.load("ID_f").blood == UNKNOWN).all()
    assert not dataset.load("ID_b").blood.any()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "ID_b,images/ID_b.jpg",
            "ID_a,images/ID_b.jpg",
            "line 3: found id = 'ID_a' again; expected each slice once",
        ),
        ("images/ID_b.jpg", "images/ID_x.jpg", r"line 3: found no images/ID_x\.jpg"),
        (",g0,80,40,measured", ",,80,40,measured", "line 2: found no group"),
        (",80,36,levels", ",80,,levels", "line 3: found center = ''; expected a number"),
        (
            ",80,36,levels",
            ",80,36,maybe",
            r"line 3: found center_from = 'maybe .*expected measured, levels, guess",
        ),
        (",80,36,levels", ",0,36,levels", "line 3: found width = '0'; expected a number of 1 or more"),
        ("128,1,0,1,0,0,0,g0", "128,0,0,1,0,0,0,g0", "line 2: found a subtype where hemorrhage is 0"),
        ("128,1,0,1,0,0,0,g0", "128,yes,0,1,0,0,0,g0", "line 2: found hemorrhage = 'yes'"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(data, old, new, says):
    path = data / "rsna-slices" / "slices.csv"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(UsageError, match=says):
        open_dataset("rsna-slices", data)


def test_a_broken_picture_is_refused_by_name(data):
    (data / "rsna-slices" / "images" / "ID_b.jpg").write_bytes(b"no picture")
    with pytest.raises(RefusedInput, match=r"rsna-slices/ID_b: found no picture that can be read"):
        open_dataset("rsna-slices", data).load("ID_b")


def test_groups_stay_together_in_a_split(data):
    dataset = open_dataset("rsna-slices", data)
    split = split_of(dataset, 2, 0)
    groups = dataset.groups()
    assert split.groups == groups and all(
        split.folds[a] == split.folds[b] for a in groups for b in groups if groups[a] == groups[b]
    )
    assert set(split.folds.values()) == {0, 1}
    assert dataset.images("ID_a") == ["ID_a"]


def test_a_store_keeps_the_range_and_the_confidence_of_each_slice(data):
    pytest.importorskip("zarr", reason="needs the extra 'train'")
    from datasets.made import SPEC
    from ichor.datasets.store_build import build_store

    dataset = open_dataset("rsna-slices", data)
    store = build_store(dataset, SPEC, data / "stores", lambda _: None, 1, 4)
    assert len(store.exam) == len(store.patients) == 8 and store.single.all()
    every = np.arange(8)
    assert (
        store.neighbours(every, 8.0) == every[:, None]
    ).all()  # there are none: a slice stands in for them
    assert dict(zip(store.patients, store.hu_ranges.tolist(), strict=True))["ID_b"] == [-4, 76]
    assert store.hu_confidence[:5] == ("measured", "inferred", "guessed", "unknown", "unknown")
    assert not store.labels[1].any() and np.isnan(store.labels[5]).all()
    for k, name in enumerate(store.patients):
        low, high = store.hu_ranges[k]
        assert low - 1 <= store.hu[k][store.hu[k] > -1024].min() and store.hu[k].max() <= high + 1, name


def test_the_commands_know_it(data, tmp_path, capsys):
    pytest.importorskip("imagehash", reason="needs the extra 'train'")
    from ichor.cli import run

    assert run(["data", "check", "rsna-slices", "--data", str(data)]) == 0
    out = capsys.readouterr().out
    assert "pictures 8, patients 4, slices read 8" in out and "any: 4 positive, 1 unknown" in out
    page = tmp_path / "page.html"
    assert run(["explore", str(data / "rsna-slices"), "-o", str(page)]) == 0
    out = capsys.readouterr().out
    assert "cut to 5 different ranges of HU, 80 to 150 HU wide" in out
    assert "not sure in 3 of 8 pictures read: the window is guessed in 1 and unknown in 2" in out
    assert json.loads(page.with_suffix(".json").read_text())["hu_confidence"] == {
        "measured": 4,
        "inferred": 1,
        "guessed": 1,
        "unknown": 2,
    }


def test_its_licence_is_stated():
    (form,) = DATASETS["rsna-slices"]
    assert "non-commercial" in form.info.licence and "academic research and education" in form.info.licence


@pytest.fixture(scope="module")
def real(shared_data):
    if not (shared_data / "rsna-slices").is_dir():
        pytest.skip("needs ../shared/data/rsna-slices")
    return open_dataset("rsna-slices", shared_data)


def test_the_published_counts(real):
    labels = np.stack(list(real.patients().values()))
    assert labels.shape == (3366, 6) and labels.sum(axis=0).tolist() == [546, 13, 249, 99, 154, 200]
    assert len(set(real.groups().values())) == 3264
    confidence = [real.window(name).confidence for name in real.patients()]
    assert [confidence.count(c) for c in ("measured", "inferred", "guessed", "unknown")] == [
        164,
        706,
        2060,
        436,
    ]


def test_measured_slices_have_a_brain_of_its_own_hu(real):
    """The commonest HU inside the head is that of brain, if the windows are turned back rightly."""
    measured = [name for name in real.patients() if real.window(name).confidence == "measured"][:40]
    modes = []
    for name in measured:
        item = real.load(name)
        low, high = item.hu_range
        inside = item.exam.volume[(item.exam.volume > low + 3) & (item.exam.volume < high - 3)]
        if inside.size > 0.1 * item.exam.volume.size:
            counts = np.bincount(inside - inside.min())
            modes.append(inside.min() + np.convolve(counts, np.ones(5), "same").argmax())
    assert len(modes) > 20 and 28 <= np.median(modes) <= 38


def test_a_split_of_all_of_it_shares_the_rare_subtypes_out(real):
    split = split_of(real, 5, 0)
    labels = real.patients()
    for fold in range(5):
        inside = np.stack([labels[name] for name, k in split.folds.items() if k == fold])
        assert 600 <= len(inside) <= 760 and 2 <= inside[:, 1].sum() <= 3 and 90 <= inside[:, 0].sum() <= 125


def test_real_slices_come_to_the_grid_whatever_they_show(real):
    """Neck, vertex, surgery, any window: none of them may stop a store."""
    from ichor.datasets.store_prepare import on_grid
    from ichor.preparing import Preparation

    spec = Preparation().grid
    names = list(real.patients())
    for name in (names[k] for k in np.random.default_rng(0).choice(len(names), 20, replace=False)):
        item = real.load(name)
        slices = on_grid(item, spec)
        assert slices.hu.shape == slices.blood.shape == (1, spec.rows, spec.columns)
        assert np.array_equal(slices.labels, item.labels) and slices.hu.max() <= round(item.hu_range[1])
