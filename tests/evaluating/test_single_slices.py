"""The measurement of single slices: its figures, and that a stopped run goes on."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ichor.datasets.head_ct import HeadCt
from ichor.datasets.registry import open_dataset
from ichor.datasets.rsna_slices import SliceWindow
from ichor.errors import UsageError
from ichor.preparing.windows import Window

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.accuracy import single_slices
from benchmarks.accuracy.single_slices import beside_truth, figures, window_kind
from benchmarks.shared import picture_results
from benchmarks.shared.picture_results import COLUMNS, Result, detected, in_random_order, read_results

NOTHING = np.full(6, np.nan)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def found(p):
    return Result("", p >= 0.5, np.array([p, 0.1, p, 0.1, 0.1, 0.1]))


@pytest.fixture
def pictures(tmp_path):
    """Eight pictures of noise, the first four with hemorrhage."""
    root = tmp_path / "head-ct-hemorrhage"
    (root / "head_ct").mkdir(parents=True)
    (root / "labels.csv").write_text("id,hemorrhage\n" + "".join(f"{k},{int(k < 4)}\n" for k in range(8)))
    for k in range(8):
        noise = np.random.default_rng(k).integers(0, 256, (160, 160), dtype=np.uint8)
        Image.fromarray(noise).save(root / "head_ct" / f"{k:03d}.png")
    return HeadCt(root)


def figures_of(dataset, results, monkeypatch):
    # Noise is no head: each picture is a group of its own.
    split = type("Split", (), {"groups": {name: name for name in dataset.patients()}})
    monkeypatch.setattr(single_slices, "split_of", lambda *_: split)
    measured = beside_truth(dataset, results)
    return {name: f.statistic(f.labels[f.of], f.scores[f.of]) for name, f in figures(measured).items()}


def test_a_refused_picture_is_not_called_and_ranks_lowest(pictures, monkeypatch):
    results = {f"{k:03d}": found(p) for k, p in enumerate((0.9, 0.8, 0.4, 0.7, 0.6, 0.3, 0.2, 0.1))}
    whole = figures_of(pictures, results, monkeypatch)
    assert whole["AUC, any, assessed"] == whole["AUC, any, all"] == 15 / 16  # 0.4 lies below 0.6
    assert (
        whole["sensitivity at the shipped threshold, all"]
        == whole["specificity at the shipped threshold, all"]
        == 0.75
    )
    refused = figures_of(pictures, results | {"000": Result("not_a_head", False, NOTHING)}, monkeypatch)
    assert refused["AUC, any, assessed"] == 11 / 12 and refused["AUC, any, all"] == 11 / 16
    assert (
        refused["sensitivity at the shipped threshold, all"] == 0.5
        and refused["accuracy at the shipped threshold, all"] == 5 / 8
    )
    assert not any("log loss" in name or "subdural" in name for name in whole)  # this set labels no subtypes


def test_a_stopped_run_goes_on_and_a_second_one_detects_nothing(pictures, tmp_path, monkeypatch, capsys):
    path = tmp_path / "results" / "head-ct-hemorrhage.csv"
    names = in_random_order(pictures)
    assert sorted(names) == sorted(pictures.patients()) and names != sorted(names)
    first = detected(pictures.path, names[:2], path, "default")
    assert all(r.refused and not r.called and np.isnan(r.probabilities).all() for r in first.values())
    rows = table(path)
    assert [r["picture"] for r in rows] == names[:2] and rows[0]["any"] == ""
    detected(pictures.path, names[:3], path, "default")
    assert [r["picture"] for r in table(path)] == names[:3]
    monkeypatch.setattr(picture_results, "Detector", None)  # would fail if it were called
    again = detected(pictures.path, names[:3], path, "default")
    assert again.keys() == set(names[:3]) and {r.refused for r in again.values()} == {
        r["refused"] for r in rows
    }


@pytest.mark.parametrize(
    ("level", "width", "confidence", "says"),
    [
        (40, 80, "measured", "width 80, level within 2 HU of 40"),
        (36, 80, "guessed", "width 80, level beyond 2 HU of 40"),
        (38.25, 135, "unknown", "width 135, level not known"),
        (40, 150, "inferred", "width 150"),
    ],
)
def test_windows_are_told_apart_by_how_far_they_are_from_the_brain_window(level, width, confidence, says):
    assert window_kind(SliceWindow(Window(level, width), confidence)) == says


def test_a_torn_line_is_refused_with_its_number(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(",".join(COLUMNS) + "\na,,1,0.5,0.1,0.1,0.1,0.1,0.1\nb,,1,0.5\n")
    with pytest.raises(UsageError, match="line 3: found no result"):
        read_results(path)
    with pytest.raises(UsageError, match="found no results; expected those of an earlier run"):
        read_results(tmp_path / "none.csv")


def test_a_slice_with_a_bleed_goes_through_the_whole_pipeline(shared_data, tmp_path):
    dataset = open_dataset("head-ct-hemorrhage", shared_data)
    result = detected(dataset.path, ["000"], tmp_path / "results.csv", "default")["000"]
    assert result.refused == "" and result.called and result.probabilities[0] > 0.5
    kept = read_results(tmp_path / "results.csv")["000"]
    np.testing.assert_array_equal(kept.probabilities, result.probabilities)
