"""Numbers, texts and functional groups of DICOM elements as archives write them."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from ichor.reading.dicom.elements import Elements, parse_number, parse_numbers

NUMBERS = [
    ("-1024", -1024),
    ("1.5e-3", 0.0015),
    ("1.0D+02", 100),
    (" +5.0 ", 5),
    (".5", 0.5),
    ("5.", 5),
    ("-1000,0000", -1000),
    (",488", 0.488),
    ("1.024,5", 1024.5),
    ("1,024.5", 1024.5),
    ("1.024.000", 1_024_000),
    ("5 mm", 5),
    ("5.0mm", 5),
    ("0,5 cm", 5),
    ("500 µm", 0.5),
    ("120kV", 120),
    ("- 5", -5),
    ("\u22121000", -1000),
    ("'-1000'", -1000),
    ("[0.5]", 0.5),
    ("0.625\0", 0.625),
    ("", None),
    ("mm", None),
    ("five", None),
    ("1 2", None),
    ("5x5", None),
    ("nan", None),
    ("inf", None),
    ("1e999", None),
    ("--5", None),
    ("12-03-2020", None),
]


@pytest.mark.parametrize(("text", "value"), NUMBERS, ids=[repr(t) for t, _ in NUMBERS])
def test_a_number_is_read_as_it_is_meant(text, value):
    assert parse_number(text) == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    "value",
    [
        "0.488\\0.5",
        "0,488\\0,5",
        " 0.488 \\ 0.5 ",
        "0.488 0.5",
        "0.488, 0.5",
        "0.488,0.5",
        "[0.488; 0.5]",
        "0.488mm\\0.5mm",
        "0,488/0,5",
        "0.488x0.5",
        [0.488, 0.5],
        ("0.488", "0,5"),
        b"0.488\\0.5 ",
    ],
)
def test_two_numbers_however_they_are_parted(value):
    assert parse_numbers(value, 2) == pytest.approx([0.488, 0.5])


@pytest.mark.parametrize(
    "value", ["0.488", "0.488\\", "0.488\\0.5\\0.5", "a\\b", "", None, [0.5, float("nan")]]
)
def test_other_than_two_numbers_are_none(value):
    assert parse_numbers(value, 2) is None


def raw(keyword: str, vr: str, value: bytes) -> Dataset:
    """A data set whose one element is as a file holds it, unparsed."""
    data = Dataset()
    tag = Tag(keyword)
    data[tag] = RawDataElement(tag, vr, len(value), value, 0, vr == "", True)
    return data


@pytest.mark.parametrize("vr", ["DS", "UT", "LO", "UN"])
def test_numbers_are_read_under_any_text_representation(vr):
    assert Elements(raw("PixelSpacing", vr, b"0,488\\0,488 ")).numbers("PixelSpacing", 2) == pytest.approx(
        0.488
    )
    assert Elements(raw("RescaleIntercept", vr, b"-1000,0 HU")).number("RescaleIntercept") == -1000


def test_of_several_values_the_first_that_is_there_counts():
    assert Elements(raw("SliceThickness", "DS", b"\\5.0\\6.0")).number("SliceThickness") == 5


def test_zero_is_no_slope_and_a_measure_beyond_a_million_is_none():
    slope = Elements(raw("RescaleSlope", "DS", b"0 "))
    assert slope.number("RescaleSlope") == 0
    assert slope.number("RescaleSlope", zero=False) is None
    assert Elements(raw("SliceLocation", "DS", b"1e7 ")).number("SliceLocation") is None


@pytest.mark.parametrize(
    ("value", "expected"), [(b"12", 12), (b"12.0", 12), (b"12.5", None), (b"2000000 ", 2_000_000)]
)
def test_whole_numbers(value, expected):
    assert Elements(raw("InstanceNumber", "IS", value)).integer("InstanceNumber") == expected


def test_texts_in_utf_8_without_a_character_set_are_mended():
    assert Elements(raw("SeriesDescription", "LO", "Schädel".encode())).text("SeriesDescription") == "Schädel"


def item(**values: object) -> Dataset:
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


def test_groups_are_merged_attribute_by_attribute_the_frames_own_first():
    data = item(
        PixelSpacing=[9, 9],
        SliceThickness=9,
        ConvolutionKernel="TOP",
        SharedFunctionalGroupsSequence=[
            item(
                PixelMeasuresSequence=[item(PixelSpacing=[2, 2], SliceThickness=2)],
                PixelValueTransformationSequence=[item(RescaleSlope=2, RescaleIntercept=-1000)],
            )
        ],
        PerFrameFunctionalGroupsSequence=[
            item(PixelMeasuresSequence=[item(SliceThickness=1)]),
            item(PixelValueTransformationSequence=[item(RescaleSlope=4)]),
        ],
    )
    first, second, beyond = (Elements(data, k) for k in range(3))
    assert (first.number("SliceThickness"), first.numbers("PixelSpacing", 2)[0]) == (1, 2)
    assert (second.number("SliceThickness"), second.number("RescaleSlope")) == (2, 4)
    assert second.number("RescaleIntercept") == -1000
    assert (beyond.number("SliceThickness"), beyond.number("RescaleSlope")) == (2, 2)
    assert first.text("ConvolutionKernel") == "TOP"


def test_an_empty_attribute_of_a_frame_does_not_hide_the_shared_one():
    data = item(
        SharedFunctionalGroupsSequence=[item(PixelMeasuresSequence=[item(PixelSpacing=[2, 2])])],
        PerFrameFunctionalGroupsSequence=[item(PixelMeasuresSequence=[item(PixelSpacing=None)])],
    )
    assert Elements(data).numbers("PixelSpacing", 2).tolist() == [2, 2]


def test_attributes_are_found_without_their_macro_and_macros_without_their_group():
    data = item(
        PerFrameFunctionalGroupsSequence=[item(ImagePositionPatient=[1, 2, 3])],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
    )
    assert Elements(data).numbers("ImagePositionPatient", 3).tolist() == [1, 2, 3]
    assert np.array_equal(Elements(data).numbers("ImageOrientationPatient", 6), [1, 0, 0, 0, 1, 0])
    assert Elements(data).numbers("ImageOrientationPatient", 6, groups_only=True) is None
