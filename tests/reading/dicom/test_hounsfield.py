"""Stored values to Hounsfield units."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import JPEGLSLossless, RLELossless

from ..phantoms import AIR, BONE, codes, expected_volume, head_series, read_one, refusal, store_hu, write


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
