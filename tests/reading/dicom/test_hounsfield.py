"""Stored values to Hounsfield units."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import JPEGLSLossless, RLELossless

from ..phantoms import (
    AIR,
    BEAD,
    BONE,
    codes,
    expected_volume,
    head_series,
    read_one,
    refusal,
    store_hu,
    write,
)


def with_pixels(change):
    """Rewrite each slice of the ordinary head: ``change(data, hu)``."""
    datasets = head_series()
    for data in datasets:
        stored = np.frombuffer(data.PixelData, np.int16).reshape(data.Rows, data.Columns)
        change(data, stored.astype(float) + float(data.RescaleIntercept))
    return datasets


def unsigned(data, bits=16):
    data.PixelRepresentation, data.BitsStored, data.HighBit = 0, bits, bits - 1


def corners(shape):
    i, j = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(i - (shape[0] - 1) / 2, j - (shape[1] - 1) / 2) > max(shape) / 2 + 2


def test_each_slice_has_its_own_rescale(tmp_path):
    datasets = head_series()
    scales = [(1, -1024), (2, -1000), (0.5, 0), (1, 0)]
    for k, data in enumerate(datasets):
        stored = np.frombuffer(data.PixelData, np.int16).reshape(data.Rows, data.Columns)
        store_hu(data, stored - 1024.0, *scales[k % 4])
    exam = read_one(write(tmp_path / "exam", datasets))
    assert codes(exam) == {"rescale_varies"}
    assert np.array_equal(exam.volume, expected_volume(exam))


@pytest.mark.parametrize("bits", [12, 16])
def test_unsigned_pixels(tmp_path, bits):
    def change(data, hu):
        unsigned(data, bits)
        store_hu(data, hu)

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert codes(exam) == ORDINARY
    assert np.array_equal(exam.volume, expected_volume(exam))


ORDINARY: set[str] = set()


def test_twelve_signed_bits_with_rubbish_above_them(tmp_path):
    def change(data, hu):
        data.BitsStored, data.HighBit = 12, 11
        values = hu.astype(np.int16) & 0x0FFF  # two's complement in twelve bits
        values[::7] |= 0x5000  # an overlay
        data.PixelData, data.RescaleIntercept = values.astype(np.uint16).tobytes(), 0

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_a_wrapped_intercept_is_unwrapped(tmp_path):
    def change(data, hu):
        unsigned(data, 12)
        values = hu % 4096  # air, -1000, is stored as 3096
        values[corners(hu.shape)] = 4096 - 2000
        data.PixelData, data.RescaleIntercept = values.astype(np.uint16).tobytes(), 0

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert {"wrapped_intercept", "padding_replaced"} <= codes(exam)
    inside = ~corners(exam.volume.shape[1:])
    assert np.array_equal(exam.volume[:, inside], expected_volume(exam)[:, inside])
    assert (exam.volume[:, ~inside] == -1024).all()


def test_a_sound_intercept_is_not_unwrapped(tmp_path):
    def change(data, hu):
        unsigned(data, 12)
        hu[hu == BONE] = 2500  # a lot of metal, just below 4096 as stored
        store_hu(data, hu)

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert "wrapped_intercept" not in codes(exam)
    assert exam.volume.max() == 2500


@pytest.mark.parametrize(
    ("tags", "stored"),
    [
        ({"PixelPaddingValue": -2000}, -2000),
        ({"PixelPaddingValue": 63536}, -2000),  # the same bits, written as unsigned
        ({"PixelPaddingValue": -3000, "PixelPaddingRangeLimit": -1900}, -2000),
        ({}, -2000),
        ({"PixelPaddingValue": 4000}, 4000),
    ],
    ids=["value", "unsigned value", "range", "no tag", "bright"],
)
def test_padding_becomes_air(tmp_path, tags, stored):
    def change(data, hu):
        store_hu(data, hu)
        values = np.frombuffer(data.PixelData, np.int16).reshape(hu.shape).copy()
        values[corners(hu.shape)] = stored
        data.PixelData = values.tobytes()
        for keyword, value in tags.items():
            data[keyword] = data_element(keyword, value)

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert codes(exam) == {"padding_replaced"}
    outside = corners(exam.volume.shape[1:])
    assert (exam.volume[:, outside] == -1024).all()
    assert np.array_equal(exam.volume[:, ~outside], expected_volume(exam)[:, ~outside])


def data_element(keyword, value):
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataelem import DataElement

    return DataElement(tag_for_keyword(keyword), "US" if value > 32767 else "SS", value)


def test_a_padding_value_that_tissue_has_too_counts_at_the_border_only(tmp_path):
    def change(data, hu):
        hu[corners(hu.shape)] = 32
        store_hu(data, hu, intercept=0)
        data["PixelPaddingValue"] = data_element("PixelPaddingValue", 32)  # 32 HU: brain

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    outside = corners(exam.volume.shape[1:])
    assert (exam.volume[:, outside] == -1024).all()
    assert np.array_equal(exam.volume[:, ~outside], expected_volume(exam)[:, ~outside])


def test_monochrome1_inverts_the_display_only(tmp_path):
    datasets = head_series()
    for data in datasets:
        data.PhotometricInterpretation = "MONOCHROME1"
    exam = read_one(write(tmp_path / "exam", datasets))
    assert codes(exam) == {"monochrome1"}
    assert np.array_equal(exam.volume, expected_volume(exam))


@pytest.mark.parametrize("signed", [True, False], ids=["signed HU", "unsigned with 1024"])
def test_an_absent_rescale_is_told_by_the_values(tmp_path, signed):
    def change(data, hu):
        if not signed:
            unsigned(data)
        store_hu(data, hu, intercept=0 if signed else -1024)
        del data.RescaleSlope, data.RescaleIntercept

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert codes(exam) == {"rescale_assumed"}
    assert np.array_equal(exam.volume, expected_volume(exam))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data, hu: store_hu(data, np.clip((hu + 40) * 2, 0, 255), 1, 0), id="0 to 255"),
        pytest.param(lambda data, hu: store_hu(data, hu, 32.1, -4047), id="32 HU a step"),
        pytest.param(lambda data, hu: store_hu(data, np.full_like(hu, AIR)), id="nothing but air"),
        pytest.param(lambda data, hu: store_hu(data, hu + 1000), id="no air"),
    ],
)
def test_what_cannot_be_hounsfield_is_refused(tmp_path, change):
    assert refusal(write(tmp_path / "exam", with_pixels(change))).code == "no_hounsfield"


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_pixels_are_the_same_pixels(tmp_path, syntax):
    datasets = head_series()
    for data in datasets:
        data.compress(syntax, generate_instance_uid=False)
    exam = read_one(write(tmp_path / "exam", datasets))
    assert codes(exam) == ORDINARY
    assert np.array_equal(exam.volume, expected_volume(exam))


# -- rescale and layout that the header does not tell -------------------------------------------------


def test_an_absent_slope_leaves_the_intercept_that_is_there(tmp_path):
    def change(data, hu):
        unsigned(data, 12)
        store_hu(data, hu, intercept=-1000)
        del data.RescaleSlope

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert np.array_equal(exam.volume, expected_volume(exam))
    message = next(n.message for n in exam.notices if n.code == "rescale_assumed")
    assert (
        "slope is absent or no usable number in 22 of 22 slices: 1 was assumed; the header's intercept -1000 was used"
        in message
    )


@pytest.mark.parametrize("slope", [0, None, ""])
def test_a_slope_that_is_none(tmp_path, slope):
    def change(data, hu):
        store_hu(data, hu)
        data.RescaleSlope = slope

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert np.array_equal(exam.volume, expected_volume(exam))
    assert codes(exam) == {"rescale_assumed"}


@pytest.mark.parametrize(
    ("stored_offset", "slope", "signed"),
    [(1024, 1, False), (1000, 1, False), (1024, 0.5, False), (0, 1, True)],
)
def test_an_absent_intercept_is_told_by_the_values_and_the_slope_stays(
    tmp_path, stored_offset, slope, signed
):
    def change(data, hu):
        if not signed:
            unsigned(data)
        store_hu(data, hu, slope, -stored_offset)
        del data.RescaleIntercept

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert np.array_equal(exam.volume, expected_volume(exam))
    message = next(n.message for n in exam.notices if n.code == "rescale_assumed")
    assert "intercept is absent or no usable number in 22 of 22 slices" in message and "slope" not in message


def test_one_offset_is_assumed_for_all_slices(tmp_path):
    def change(data, hu):
        unsigned(data)
        dense = np.where(hu == 32, 5, hu) if data.InstanceNumber < 4 else hu  # as if 1000 had been added
        store_hu(data, dense, 1, -1024)
        del data.RescaleIntercept

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert "rescale_varies" not in codes(exam)
    assert np.array_equal(exam.volume[4:], expected_volume(exam)[4:])


def dense(hu):
    """Bone beyond what eleven bits and an offset hold, as at the base of the skull."""
    return np.where(hu == BONE, 1400, hu)


LAYOUTS = {
    "unsigned 12 bits called signed": ((12, 0), (12, 1), -1024),
    "signed 16 bits called unsigned": ((16, 1), (16, 0), 0),
    "unsigned 16 bits called signed": ((16, 0), (16, 1), -32768),
    "16 bits called 12": ((16, 1), (12, 1), -1024),
}


@pytest.mark.parametrize(("true", "told", "intercept"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_that_the_values_contradict(tmp_path, true, told, intercept):
    def change(data, hu):
        data.BitsStored, data.PixelRepresentation = true
        store_hu(data, dense(hu), 1, intercept)
        data.BitsStored, data.PixelRepresentation = told
        data.HighBit = data.BitsStored - 1

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert np.array_equal(exam.volume, dense(expected_volume(exam)))
    assert codes(exam) == {"pixel_layout_contradicted"}


def test_slices_of_nothing_but_air_follow_the_others(tmp_path):
    def change(data, hu):
        store_hu(data, np.full_like(hu, AIR) if data.InstanceNumber > 20 else dense(hu), 1, 0)
        data.PixelRepresentation = 0

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert (exam.volume[20:] == AIR).all()
    assert np.array_equal(exam.volume[:20], dense(expected_volume(exam))[:20])


def test_metal_and_padding_are_no_contradiction(tmp_path):
    def change(data, hu):
        unsigned(data, 12)
        metal = hu.copy()
        metal[30:34, 30:34] = 3071  # the highest of twelve bits, beside brain and air
        metal[0, 20:30] = 3071
        store_hu(data, metal)

    exam = read_one(write(tmp_path / "unsigned", with_pixels(change)))
    assert (exam.volume[:, 30:34, 30:34] == 3071).all() and "pixel_layout_contradicted" not in codes(exam)

    def pad(data, hu):
        store_hu(data, hu, 1, 0)
        values = np.frombuffer(data.PixelData, np.int16).reshape(hu.shape).copy()
        values[corners(hu.shape)] = -2000
        values[30:34, 30:34] = 3071
        data.PixelData = values.tobytes()

    exam = read_one(write(tmp_path / "padded", with_pixels(pad)))
    assert "pixel_layout_contradicted" not in codes(exam) and (exam.volume[:, 0, 0] == -1024).all()


def test_holes_within_the_head_are_not_called_padding(tmp_path):
    def change(data, hu):
        store_hu(data, np.where(hu == BEAD, -1100, hu), 1, -3000)

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert "padding_replaced" not in codes(exam)


@pytest.mark.parametrize("bits", [8, 10, 11])
def test_fewer_bits_than_hounsfield_units_take_are_not_believed(tmp_path, bits):
    def change(data, hu):
        unsigned(data, bits)
        store_hu(data, hu)

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert np.array_equal(exam.volume, expected_volume(exam))
    assert codes(exam) == {"pixel_layout_contradicted"}


@pytest.mark.parametrize("moved", [True, False], ids=["in the upper bits", "in the lower bits"])
def test_values_lie_where_the_high_bit_says_if_they_do(tmp_path, moved):
    def change(data, hu):
        unsigned(data, 12)
        data.HighBit = 15
        store_hu(data, hu)
        if moved:
            data.PixelData = (np.frombuffer(data.PixelData, np.uint16) << 4).tobytes()

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert np.array_equal(exam.volume, expected_volume(exam)) and codes(exam) == ORDINARY


@pytest.mark.parametrize(
    "absent",
    [
        ["PixelRepresentation"],
        ["BitsStored", "HighBit"],
        ["SamplesPerPixel"],
        ["PhotometricInterpretation"],
        ["PixelRepresentation", "BitsStored", "HighBit", "SamplesPerPixel", "PhotometricInterpretation"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("syntax", ["", RLELossless, JPEGLSLossless], ids=["plain", "rle", "jpeg-ls"])
def test_what_goes_without_saying_may_be_absent(tmp_path, absent, syntax):
    def change(data, hu):
        unsigned(data, 16)
        store_hu(data, hu)
        if syntax:
            data.compress(syntax, generate_instance_uid=False)
        for keyword in absent:
            delattr(data, keyword)

    exam = read_one(write(tmp_path / "exam", with_pixels(change)))
    assert np.array_equal(exam.volume, expected_volume(exam)) and codes(exam) == ORDINARY
