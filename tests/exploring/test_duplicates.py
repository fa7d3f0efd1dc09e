"""Exams that are there twice, and splits that tear them or a patient apart."""

import json

import numpy as np
import pytest

pytest.importorskip("imagehash", reason="needs the extra 'train'")

from scipy import ndimage

from ichor.datasets.splits import Split, save_split
from ichor.errors import UsageError
from ichor.exploring.duplicates import find_duplicates
from ichor.exploring.leakage import Sides, find_leakage, read_sides
from ichor.exploring.survey import survey

from .made import Made, labels_of, made, volume


def test_an_exam_under_two_names_is_found_and_others_are_not():
    again = np.rint(ndimage.zoom(volume(0).astype(np.float32), (1, 1.3, 1.3), order=1)).astype(np.int16)
    dataset = made(
        4, volumes={"x": volume(1, (5, 6)), "y": again}, labels={"x": labels_of(), "y": labels_of()}
    )
    duplicates = find_duplicates(survey(dataset), pictures=False)
    found = {(c.first, c.second): c for c in duplicates}
    assert set(found) == {("b", "x"), ("a", "y")}
    assert found["b", "x"].kind == "equal" and found["b", "x"].labels_differ
    assert found["a", "y"].kind == "copy" and not found["a", "y"].labels_differ
    assert found["b", "x"].slices >= 8 and found["a", "y"].slices >= 3
    assert duplicates[0].kind == "equal"  # the surest first


def test_single_slices_of_two_exams_may_be_alike_by_chance():
    other = volume(9)
    other[2] = np.where(volume(0)[2] > 0, volume(0)[2] + 1, volume(0)[2])
    dataset = made(1, volumes={"x": other}, labels={"x": labels_of()})
    assert find_duplicates(survey(dataset), pictures=False) == []


def test_pictures_with_margins_are_compared_by_their_heads():
    """Air around a head would make every two pictures alike."""

    def picture(seed, margin):
        plane = volume(seed)[6:7]
        return np.pad(plane, ((0, 0), (margin, margin), (margin, margin)), constant_values=-1000)

    pictures = {
        "wide": picture(0, 20),
        "wider": picture(0, 45),
        "other": picture(5, 45),
        "third": picture(7, 45),
    }
    dataset = Made(pictures, dict.fromkeys(pictures, labels_of()[:1]), kind="pictures")
    found = find_duplicates(survey(dataset), pictures=True)
    assert [(d.first, d.second) for d in found] == [("wide", "wider")]


def test_slices_near_the_vertex_are_not_taken_for_duplicates():
    """A small oval in a wide picture looks like any other."""
    yy, xx = np.mgrid[:200, :200]
    pictures = {}
    for seed, name in enumerate("abcd"):
        radius = np.hypot((yy - 100) / 30, (xx - 100) / 26)
        brain = 35 + np.random.default_rng(seed).normal(0, 3, radius.shape)
        pictures[name] = np.where(radius < 0.85, brain, np.where(radius < 1, 900, -1000)).astype(np.int16)[
            None
        ]
    dataset = Made(pictures, dict.fromkeys(pictures, labels_of()[:1]), kind="pictures")
    assert find_duplicates(survey(dataset), pictures=True) == []


def test_leakage_of_patients_and_of_duplicates():
    volumes, labels = {"x": volume(0), "y": volume(7)}, {"x": labels_of(), "y": labels_of()}
    dataset = made(4, volumes=volumes, labels=labels, groups={"c": "person", "d": "person"})
    found = survey(dataset)
    duplicates = find_duplicates(found, pictures=False)
    sides = {
        "a": {"train"},
        "x": {"test"},
        "b": {"train"},
        "c": {"train"},
        "d": {"test"},
        "y": {"train", "test"},
    }
    leakage = find_leakage(Sides("made", sides), dataset, found, duplicates)
    assert {(k.kind, k.members) for k in leakage} == {
        ("near-duplicates", ("a", "x")),
        ("patient", ("c", "d")),
        ("patient", ("y",)),
    }
    assert all(k.sides == ("test", "train") for k in leakage)
    whole = {name: {"train"} for name in sides}
    assert find_leakage(Sides("made", whole), dataset, found, duplicates) == []


def test_splits_are_read_from_what_there_is(tmp_path):
    folds = {"a": 0, "b": 1}
    wanted = {"a": {"0"}, "b": {"1"}}
    save_split(Split("made", 0, folds, {}), tmp_path / "run" / "split.json")
    assert read_sides(tmp_path / "run" / "split.json").sides == wanted == read_sides(tmp_path / "run").sides
    for k, name in enumerate("ab"):
        path = tmp_path / "old" / f"fold-{k}" / "predictions.csv"
        path.parent.mkdir(parents=True)
        path.write_text(f"dataset,patient,slice\nmade,{name},0\nmade,{name},1\n")
    assert read_sides(tmp_path / "old").sides == wanted
    table = tmp_path / "split.csv"
    table.write_text("patient,side\na,train\nb,test\na,test\n")
    assert read_sides(table).sides == {"a": {"train", "test"}, "b": {"test"}}
    assert read_sides(table).names == ["test", "train"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "{", "no split in it"),
        ("a.json", json.dumps({"folds": 3}), "no split in it"),
        ("a.csv", "patient\na\n", "a table without a column fold"),
        ("a.csv", "name,fold\na,1\n", "a table without a column patient"),
    ],
)
def test_what_is_no_split_is_refused(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_sides(path)
    for nothing in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match="expected a split"):
            read_sides(nothing)
