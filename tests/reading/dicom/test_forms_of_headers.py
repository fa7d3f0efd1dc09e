"""What headers do not tell apart, and numbers in other forms than the standard's."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.uid import generate_uid

from ichor.reading.dicom import headers
from ichor.reading.dicom.elements import Elements
from ichor.reading.files import InputFile
from ichor.reading.limits import Limits

from ..phantoms import Plan, codes, enhanced, head_series, read_one, refusal, write
from .test_archives import changed, moved, noisy, the_head

NAMELESS = {
    "nothing but the order of numbers": ({}, {}),
    "description": ({"SeriesDescription": "5.0 A"}, {"SeriesDescription": "5.0 B"}),
    "protocol": ({"ProtocolName": "A"}, {"ProtocolName": "B"}),
    "series number": ({"SeriesNumber": 2}, {"SeriesNumber": 3}),
    "filter": ({"FilterType": "A"}, {"FilterType": "B"}),
}


@pytest.mark.parametrize("numbers", [-500, 500], ids=["bone first by number", "soft first by number"])
@pytest.mark.parametrize("tags", NAMELESS.values(), ids=NAMELESS)
@pytest.mark.parametrize("offset", [0, 1.0, 3.25])
def test_a_bone_reconstruction_that_nothing_names_is_told_by_its_noise(tmp_path, offset, tags, numbers):
    study, series = generate_uid(), generate_uid()
    soft = changed(head_series(study=study, series=series), ConvolutionKernel=None, **tags[0])
    bone = moved(noisy(head_series(study=study, series=series)), offset, numbers)
    changed(bone, ConvolutionKernel=None, **tags[1])
    exam = read_one(write(tmp_path / "study", bone + soft))
    assert exam.n_slices == 22 and the_head(exam)
    left = next(n.message for n in exam.notices if n.code == "series_left_out")
    assert "much noisier brain" in left


@pytest.mark.parametrize(
    ("position", "location"), [((0, 0, 0), True), ((0, 0, 0), False), ((-90, -90, 5), True)]
)
def test_a_position_that_all_slices_share_places_none(tmp_path, position, location):
    slices = head_series()
    for data in slices:
        if location:
            data.SliceLocation = float(data.ImagePositionPatient[2])
    exam = read_one(write(tmp_path / "study", changed(slices, ImagePositionPatient=list(position))))
    assert exam.n_slices == 22 and not exam.geometry.positions_known
    assert codes(exam) == {"position_missing"}
    assert np.array_equal(exam.volume, read_one(write(tmp_path / "right", head_series())).volume)


def test_one_slice_several_times_is_no_stack(tmp_path):
    slices = changed(head_series(), ImagePositionPatient=[-90, -90, 5], SliceLocation=5.0)
    assert refusal(write(tmp_path / "study", slices)).code == "too_few_slices"


def rewritten(folder, **elements):
    """Write other representations and bytes for elements of files in explicit little endian."""
    for path in folder.iterdir():
        raw = path.read_bytes()
        for keyword, (vr, value) in elements.items():
            tag = tag_for_keyword(keyword)
            at = raw.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF), 132)
            end = at + 8 + struct.unpack_from("<H", raw, at + 6)[0]
            value += b" " * (len(value) % 2)
            raw = raw[: at + 4] + vr + struct.pack("<H", len(value)) + value + raw[end:]
        path.write_bytes(raw)
    return folder


COUNTS = {
    "rows as text": {"Rows": (b"IS", b"64"), "Columns": (b"IS", b"72")},
    "rows with decimals": {"Rows": (b"DS", b"64,0"), "Columns": (b"DS", b"72.0")},
    "rows of four bytes": {"Rows": (b"UL", struct.pack("<L", 64)), "Columns": (b"UL", struct.pack("<L", 72))},
    "bits as text": {"BitsAllocated": (b"LO", b"16"), "BitsStored": (b"LO", b"16")},
    "samples as text": {"SamplesPerPixel": (b"DS", b"1,0")},
    "sign as text": {"PixelRepresentation": (b"IS", b"1")},
}


@pytest.mark.parametrize("elements", COUNTS.values(), ids=COUNTS)
def test_counts_are_read_in_whatever_form(tmp_path, elements):
    plan = Plan(shape=(64, 72))
    exam = read_one(rewritten(write(tmp_path / "study", head_series(plan)), **elements))
    assert the_head(exam) and codes(exam) == set()


@pytest.mark.parametrize("count", [b"22,0", b"22.0", b"+22", b"022"])
def test_a_number_of_frames_in_whatever_form(tmp_path, count):
    folder = rewritten(write(tmp_path / "study", [enhanced()]), NumberOfFrames=(b"IS", count))
    exam = read_one(folder)
    assert exam.n_slices == 22 and the_head(exam)


def test_frames_without_groups_of_their_own_are_looked_at_once(tmp_path, monkeypatch):
    """A file of 3 kB that claims 4,000 frames took nine seconds on a busy machine."""
    data = enhanced(Plan(n=6, step=9.0))
    data.NumberOfFrames = 4000
    path = next(write(tmp_path / "study", [data]).iterdir())
    looked = []

    class Counting(Elements):
        def __init__(self, *arguments):
            looked.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(headers, "Elements", Counting)
    found = headers.read_headers(InputFile(path, "x"), Limits())
    assert len(found) == 4000 and len(looked) == 8  # the object, six frames, and all the others
    assert [h.frame for h in found] == list(range(4000)) and found[3999].number == 4000
    assert [h.position is None for h in found] == [False] * 6 + [True] * 3994
