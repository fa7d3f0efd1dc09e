"""The page and the JSON: the figures are right, the page is whole, and nothing names a person."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from ichor.exploring.drawings import histogram, skyline
from ichor.exploring.duplicates import Duplicate
from ichor.exploring.leakage import Leakage, Sides
from ichor.exploring.page import write_report
from ichor.exploring.remarks import remarks
from ichor.exploring.summary import Exploration, co_occurrence, counts, window_shares
from ichor.exploring.survey import survey

from .made import labels_of, made, volume


def exploration(dataset, duplicates=(), split=None, leakage=(), name_of=str):
    return Exploration(
        dataset.name,
        dataset.info,
        survey(dataset),
        list(duplicates),
        split,
        list(leakage),
        dataset.groups(),
        ["3 rows repeat"],
        name_of,
        1.0,
    )


def test_labels_are_counted():
    labels = np.array([[1, 1, 1, 0, 0, 0], [1, 0, 1, np.nan, 0, 0], [0] * 6], np.float32)
    assert counts(labels)["any"] == {"present": 2, "absent": 1, "unknown": 0}
    assert counts(labels)["intraventricular"] == {"present": 0, "absent": 2, "unknown": 1}
    together = co_occurrence(labels)
    assert together[0].tolist() == [1, 1, 0, 0, 0] and together[1].tolist() == [1, 2, 0, 0, 0]


def test_windows_tell_what_they_show():
    found = survey(made(2))
    found.hu[:] = 0
    found.hu[0, [1100 - 50, 1100 + 40, 1100 + 90, 1100 + 300]] = [1, 5, 2, 2]
    shares = window_shares(found)
    assert [shares["brain"][k] for k in ("black", "grey", "white")] == [0.1, 0.5, 0.4]
    assert [shares["subdural"][k] for k in ("black", "grey", "white")] == [0.1, 0.7, 0.2]


def test_remarks_put_the_grave_first():
    sides = {"a": {"train", "test"}, "b": {"train"}, "z": {"train"}}
    dataset = made(4, volumes={"x": OSError("cut")}, labels={"x": labels_of()})
    told = remarks(
        exploration(dataset, split=Sides("s", sides), leakage=[Leakage("patient", ("a",), ("test", "train"))])
    )
    texts = [r.text for r in told]
    assert (
        "The split s has leakage: 1 patient and 0 groups of near-duplicates on more than one side. Deal it again."
        in texts
    )
    assert "The split names 1 patients that the data set does not have." in texts
    assert "3 exams are not in the split." in texts
    assert "1 of 5 exams cannot be read." in texts
    assert "Left out by the data set: 3 rows repeat." in texts
    grave = [r.grave for r in told]
    assert grave == sorted(grave, reverse=True) and any(grave) and not all(grave)


def test_duplicates_are_weighed_against_the_groups_that_a_data_set_knows():
    pair = Duplicate("a", "b", "equal", 1.0, 12, (5, 5), "", False)
    for groups, says in (
        (None, "ichor train knows only patients"),
        ({"a": "p", "b": "p"}, "as the data set's groups do"),
        ({"a": "p", "b": "q"}, "of 1 the data set does not say that they belong together"),
    ):
        texts = [r.text for r in remarks(exploration(made(2, groups=groups), [pair]))]
        assert sum(says in text for text in texts) == 1, texts


def test_wrong_labels_and_a_single_class_are_noticed():
    wrong = labels_of(3)
    wrong[3, 0] = 0
    bare = labels_of(3)
    bare[3, 2] = 0
    texts = " ".join(
        r.text
        for r in remarks(
            exploration(made(0, volumes={"w": volume(0), "v": volume(1)}, labels={"w": wrong, "v": bare}))
        )
    )
    assert "1 exams have a subtype but no hemorrhage" in texts
    assert "1 slices have a hemorrhage but none of the five subtypes" in texts
    lone = remarks(exploration(made(0, volumes={"w": volume(0)}, labels={"w": labels_of(2)})))
    assert any("All exams are with hemorrhage" in r.text and r.grave for r in lone)


class Tags(HTMLParser):
    """Notes every tag that is not closed in order."""

    VOID = frozenset({"meta", "img", "br", "line", "rect", "path"})

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.mark.parametrize("full", [True, False])
def test_the_page_is_whole_and_needs_nothing_beside_it(tmp_path, full):
    sides = {"a": {"train", "test"}, "b": {"train"}}
    more = (
        {"split": Sides("s", sides), "leakage": [Leakage("patient", ("a",), ("test", "train"))]}
        if full
        else {}
    )
    volumes = {"x": OSError("cut")} if full else {}
    dataset = made(3, volumes=volumes, labels={name: labels_of() for name in volumes})
    page, data = write_report(exploration(dataset, **more), tmp_path / "deep" / "page.html")
    text = page.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.open == [] and tags.wrong == []
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text) and "http:" not in text and "https:" not in text
    assert "nan" not in re.findall(r" d=\"[^\"]*", text) and text.count("<img") >= 4
    figures = json.loads(data.read_text())
    assert figures["exams"] == 3 + len(volumes) and figures["slices"] == 12 * 3
    assert figures["labels_of_slices"]["any"]["present"] == 2
    assert figures["slices_per_exam"][1] == {
        "exam": "b",
        "slices": 12,
        "none": 10,
        "hemorrhage": 2,
        "unknown": 0,
    }
    assert figures["measures"]["spacing_mm"] == {
        "known": 3,
        "of": 3,
        "least": 2.0,
        "median": 2.0,
        "most": 2.0,
    }
    assert (figures["split"] is not None) == full
    if full:
        assert figures["split"]["sides"][1] == {"side": "train", "exams": 2, "positive": [1, 0, 1, 0, 0, 0]}


def test_names_are_shown_as_asked(tmp_path):
    dataset = made(
        2,
        volumes={"Doe^Jane": volume(8), "Doe^John": OSError("cut")},
        labels=dict.fromkeys(("Doe^Jane", "Doe^John"), labels_of()),
    )
    for path in write_report(exploration(dataset, name_of=lambda name: "no. 1"), tmp_path / "page.html"):
        assert "Doe" not in path.read_text(encoding="utf-8")


def test_a_histogram_counts_every_value_once():
    for values in ([3.0], [2.0, 2.0, 5.0], [0.31, 0.34, 0.4, 0.41], list(range(200)), [5.0, 5.0]):
        plot = histogram("x", "mm", np.array(values))
        bars = plot.series[0].path.count("M")
        assert 1 <= bars <= len(set(values)) and "NAN" not in plot.series[0].path.upper()


def test_the_skyline_has_every_slice_once():
    found = survey(made(4))
    strip = skyline(found.exams, 100, {e.patient: e.patient for e in found.exams})
    words = [w for w, _ in strip.columns]
    assert words[0] == "b: 12 slices, 2 with hemorrhage" and len(words) == 4
    bleeding, plain = strip.columns[0][1], strip.columns[-1][1]
    assert [run[4] for run in bleeding] == ["none", "hemorrhage", "none"] and len(plain) == 1
    assert sum(run[3] for run in bleeding) == pytest.approx(plain[0][3])
    assert len(skyline(found.exams, 2, {e.patient: e.patient for e in found.exams}).columns) == 2
