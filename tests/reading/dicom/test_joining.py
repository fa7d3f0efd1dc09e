"""Slices with UIDs of their own each: which are joined, and which are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ichor.reading.dicom.joining import join_fragments
from ichor.reading.files import InputFile

from .slices import CORNER, each, head, uids


def own(*names, **others):
    """A head whose slices have a value of their own in some UIDs."""
    return each(head(), **{name: (lambda k, name=name: f"{name}.{k}") for name in names}, **others)


LINKED = {
    "series": own("series_uid"),
    "study": own("study_uid"),
    "patient": own("patient"),
    "patient and series": own("patient", "series_uid"),
    "study and series, one frame of reference": own("study_uid", "series_uid", frame_of_reference="9.9"),
    "all, one frame of reference": own("patient", "study_uid", "series_uid", frame_of_reference="9.9"),
}


@pytest.mark.parametrize("slices", LINKED.values(), ids=LINKED)
def test_what_shares_a_uid_is_joined(slices):
    joined = join_fragments(slices[::-1], None)
    assert {(h.patient, h.study_uid, h.series_uid) for h in joined.headers} == {
        (slices[0].patient, slices[0].study_uid, slices[0].series_uid)
    }
    assert [n.code for n in joined.notices] == ["uids_joined"]
    assert joined.notices[0].message.startswith("22 slices of one stack")
    assert "series.3" not in joined.notices[0].message
    assert sorted(uids(joined.headers)) == list(range(1, 23)) and not joined.scattered


def test_without_positions_numbers_tell_places():
    joined = join_fragments(own("series_uid", position=None), None)
    assert {h.series_uid for h in joined.headers} == {"series_uid.0"}


def folders(k):
    return InputFile(Path(f"folder{k}/x"), "x")


def test_an_export_of_a_folder_for_each_series_is_joined_by_its_study():
    joined = join_fragments(own("series_uid", file=folders), None)
    assert len({h.series_uid for h in joined.headers}) == 1


def test_across_folders_a_frame_of_reference_is_not_enough():
    slices = own("patient", "study_uid", "series_uid", frame_of_reference="9.9", file=folders)
    joined = join_fragments(slices, None)
    assert joined.headers == slices and not joined.scattered


def test_the_series_asked_for_gives_its_uid():
    joined = join_fragments(own("series_uid"), "series_uid.7")
    assert {h.series_uid for h in joined.headers} == {"series_uid.7"}


def test_what_shares_nothing_is_scattered_and_not_joined():
    slices = own("patient", "study_uid", "series_uid", "frame_of_reference")
    joined = join_fragments(slices, None)
    assert joined.headers == [] and len(joined.scattered) == 22 and not joined.notices


NOT_ALIKE = {
    "matrices": {"rows": lambda k: 100 + k},
    "spacings": {"spacing": lambda k: np.array([1.0, 1.0]) * (1 + k / 50)},
    "kernels": {"kernel": lambda k: f"K{k}"},
    "directions": {"orientation": lambda k: np.array([1, 0, 0, 0, np.cos(k / 9), np.sin(k / 9)])},
    "places": {"position": lambda k: np.array([*CORNER, 5.0 * (k // 2)])},
    "no place": {"position": lambda k: None, "number": lambda k: 1},
    "another modality": {"modality": lambda k: "MR"},
}


@pytest.mark.parametrize("changes", NOT_ALIKE.values(), ids=NOT_ALIKE)
def test_what_does_not_make_a_stack_stays_as_it_is(changes):
    slices = each(own("series_uid"), **changes)
    joined = join_fragments(slices, None)
    assert joined.headers == slices and not joined.notices and not joined.scattered


def test_series_that_are_whole_are_never_joined():
    one, other = head(), each(head(first=101, base=2.5), series_uid="other", patient="another")
    joined = join_fragments(one + other, None)
    assert joined.headers == one + other and not joined.notices


def test_fragments_beside_a_whole_series_are_joined_and_leave_it_alone():
    whole = each(head(first=101), series_uid="whole", kernel="H60S")
    joined = join_fragments(own("series_uid") + whole, None)
    assert len({h.series_uid for h in joined.headers}) == 2
    assert [h for h in joined.headers if h.series_uid == "whole"] == whole


def test_two_kernels_whose_slices_all_have_their_own_uid_make_two_series():
    soft, bone = own("series_uid"), each(own("series_uid"), kernel="H60S", series_uid=lambda k: f"bone.{k}")
    joined = join_fragments(soft + bone, None)
    assert len({h.series_uid for h in joined.headers}) == 2 and len(joined.notices) == 2


def test_few_fragments_are_left_alone():
    slices = own("series_uid")[:4]
    assert join_fragments(slices, None).headers == slices


def exploded(slices, **changes):
    """The same slices, each with a series of its own."""
    return each(slices, series_uid=lambda k: f"{slices[k].sop_uid}.1", **changes)


SCANS = {
    "time": {"acquired": "20200101121500"},
    "acquisition": {"acquisition": "2"},
    "description": {"description": "HEAD AFTER"},
    "the order of numbers": {},
}


@pytest.mark.parametrize("offset", [0.0, 1.0], ids=["same places", "a little beside"])
@pytest.mark.parametrize("changes", SCANS.values(), ids=SCANS)
def test_two_scans_whose_slices_all_have_their_own_uid_make_two_series(changes, offset):
    plain = {"acquired": "20200101120000", "acquisition": "1"}
    before, after = exploded(head(), **plain), exploded(head(first=101, base=offset), **{**plain, **changes})
    joined = join_fragments(before + after, None)
    series = {
        uid: [h for h in joined.headers if h.series_uid == uid]
        for uid in {h.series_uid for h in joined.headers}
    }
    assert sorted(sorted(uids(s)) for s in series.values()) == [list(range(1, 23)), list(range(101, 123))]


@pytest.mark.parametrize(
    "series",
    [lambda k: f"s{k % 2}", lambda k: f"s{k % 4}", lambda k: f"s{k // 6}"],
    ids=["two", "four", "slabs"],
)
def test_a_stack_dealt_out_to_a_few_series_is_joined(series):
    joined = join_fragments(each(head(), series_uid=series), None)
    assert {h.series_uid for h in joined.headers} == {"s0"} and [n.code for n in joined.notices] == [
        "uids_joined"
    ]


def test_two_scans_with_gaps_in_the_same_places_are_not_joined():
    slices = each(head(11, 10.0), thickness=5.0) + each(
        head(11, 10.0, first=101), thickness=5.0, series_uid="other"
    )
    assert join_fragments(slices, None).headers == slices
