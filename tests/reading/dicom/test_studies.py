"""Folders with junk, broken files, hostile headers; and what must never be told."""

from __future__ import annotations

import io
import logging
import shutil
import struct
import threading
import warnings
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from ichor.errors import RefusedInput
from ichor.exam import Exam
from ichor.reading.dicom.dataset import is_dicom, quiet_pydicom
from ichor.reading.limits import Limits

from ..phantoms import (
    SECRETS,
    Plan,
    codes,
    enhanced,
    expected_volume,
    head_series,
    read,
    read_one,
    refusal,
    write,
)


def test_junk_and_indexes_are_counted_and_left_out(tmp_path, shared_data):
    folder = write(tmp_path / "exam" / "deep" / "deeper", head_series())
    (tmp_path / "exam" / "notes.txt").write_text("no image")
    (tmp_path / "exam" / "empty").touch()
    (tmp_path / "exam" / "autorun.exe").write_bytes(b"MZ" + bytes(500))
    shutil.copy(shared_data / "dicom-oddities" / "philips_phantom" / "DICOMDIR", tmp_path / "exam")
    exam = read_one(tmp_path / "exam")
    assert codes(exam) == {"not_an_image"}
    assert next(iter(exam.notices)).message.startswith("4 of 26 files")
    assert folder.is_dir()


def test_nothing_but_junk_is_no_result(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    assert read(tmp_path) == []


def test_an_index_alone_is_refused(shared_data):
    assert refusal(shared_data / "dicom-oddities" / "philips_phantom" / "DICOMDIR").code == "no_image"


@pytest.mark.parametrize("preamble", [True, False])
@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble_are_dicom_too(tmp_path, preamble, implicit):
    datasets = head_series()
    for k, data in enumerate(datasets):
        buffer = io.BytesIO()
        meta = data.file_meta
        if implicit:
            meta.TransferSyntaxUID = ImplicitVRLittleEndian
        if preamble:
            data.save_as(buffer, enforce_file_format=True)
        else:
            del data.file_meta
            data.save_as(buffer, implicit_vr=implicit, little_endian=True)
        (tmp_path / f"{k}").write_bytes(buffer.getvalue())
        assert is_dicom(tmp_path / f"{k}")
    exam = read_one(tmp_path)
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_one_broken_slice_is_left_out(tmp_path):
    datasets = head_series()
    datasets[7].PixelData = datasets[7].PixelData[:-200]
    exam = read_one(write(tmp_path / "exam", datasets))
    assert {"slice_unreadable", "slices_missing"} <= codes(exam)
    assert exam.n_slices == 21
    assert np.array_equal(exam.volume, expected_volume(exam))


def test_one_broken_header_is_left_out(tmp_path):
    folder = write(tmp_path / "exam", head_series())
    victim = sorted(folder.iterdir())[3]
    victim.write_bytes(victim.read_bytes()[:140] + b"\xff" * 300)
    exam = read_one(folder)
    assert "slice_unreadable" in codes(exam) or "not_an_image" in codes(exam)
    assert exam.n_slices == 21


def test_a_mostly_broken_series_is_refused(tmp_path):
    datasets = head_series()
    for data in datasets[::3]:
        data.PixelData = b""
    refused = refusal(write(tmp_path / "exam", datasets))
    assert refused.code == "unreadable"
    assert "8 of 22 slices" in refused.found


def write_single(tmp_path, data):
    path = tmp_path / "one.dcm"
    data.save_as(path, enforce_file_format=True)
    return path


def middle():
    return head_series(Plan(n=23))[11]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Rows": 60000, "Columns": 60000}, "limit_exceeded"),
        ({"Rows": 5000, "Columns": 5000}, "unreadable"),
        ({"Rows": 0}, "modality_not_ct"),
        ({"BitsAllocated": 12}, "unreadable"),
        ({"NumberOfFrames": 2_000_000}, "limit_exceeded"),
        ({"NumberOfFrames": 900}, "unreadable"),
        ({"NumberOfFrames": -4}, "unreadable"),
        ({"SamplesPerPixel": 3}, "secondary_capture"),
        ({"PixelData": b""}, "unreadable"),
    ],
)
def test_a_header_that_claims_what_is_not_there(tmp_path, changes, code):
    data = middle()
    for keyword, value in changes.items():
        setattr(data, keyword, value)
    refused = refusal(write_single(tmp_path, data))
    assert refused.code == code
    assert "one.dcm" in str(refused) and "\n" not in str(refused)


def test_a_forged_length_reads_no_more_than_there_is(tmp_path):
    path = write_single(tmp_path, middle())
    raw = bytearray(path.read_bytes())
    at = raw.find(b"\xe0\x7f\x10\x00OW")
    struct.pack_into("<L", raw, at + 8, 0xFFFFFFF0)
    path.write_bytes(raw)
    assert (
        read(path)[0] is not None
    )  # pydicom takes what is left, or the file is refused: either is an answer


def nested(depth, *, explicit_length):
    inner = Dataset()
    inner.CodeMeaning = "x"
    for _ in range(depth):
        outer = Dataset()
        outer.ReferencedStudySequence = [inner]
        outer["ReferencedStudySequence"].is_undefined_length = not explicit_length
        inner = outer
    return inner


def test_deep_nesting_is_refused_by_its_limit(tmp_path):
    data = middle()
    data.update(nested(40, explicit_length=False))
    refused = refusal(write_single(tmp_path, data))
    assert refused.code == "limit_exceeded"
    assert "nested" in refused.found


def test_a_bomb_of_nested_sequences_is_refused(tmp_path):
    path = write_single(tmp_path, middle())
    raw = path.read_bytes()
    at = raw.find(b"\x10\x00\x10\x00PN")
    bomb = (b"\x08\x00\x10\x11SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * 20_000
    path.write_bytes(raw[:at] + bomb + raw[at:])
    assert refusal(path).code in ("limit_exceeded", "unreadable")


def test_a_deflated_bomb_is_refused(tmp_path):
    data = middle()
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = write_single(tmp_path, data)
    assert isinstance(read(path)[0], Exam)
    raw = path.read_bytes()
    packer = zlib.compressobj(9, wbits=-15)
    packed = b"".join(packer.compress(bytes(1_000_000)) for _ in range(300)) + packer.flush()
    meta_end = 132 + 12 + struct.unpack_from("<L", raw, 140)[0]
    path.write_bytes(raw[:meta_end] + packed)
    refused = refusal(path)
    assert refused.code == "limit_exceeded"
    assert "unpack" in refused.found


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_a_compressed_stream_that_is_rubbish_is_refused(tmp_path, syntax):
    data = middle()
    data.PixelData = encapsulate([bytes(range(256)) * 8])
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = syntax
    assert refusal(write_single(tmp_path, data)).code == "unreadable"


def test_a_stream_of_another_size_never_meets_a_decoder(tmp_path):
    data = middle()
    data.compress("1.2.840.10008.1.2.4.80", generate_instance_uid=False)
    data.Rows, data.Columns = data.Rows + 8, data.Columns - 8
    refused = refusal(write_single(tmp_path, data))
    assert refused.code == "unreadable"
    assert "64 x 72" in refused.found


def test_limits_on_slices_voxels_and_bytes(tmp_path):
    folder = write(tmp_path / "exam", head_series())
    assert refusal(folder, limits=Limits(frames=10)).code == "limit_exceeded"
    assert refusal(folder, limits=Limits(voxels=10_000)).code == "limit_exceeded"
    assert refusal(folder, limits=Limits(file_bytes=1_000)).code == "limit_exceeded"
    assert refusal(folder, limits=Limits(pixels=1_000)).code == "limit_exceeded"
    assert refusal(folder, limits=Limits(seconds=1e-9)).code == "limit_exceeded"


def test_nothing_of_the_patient_is_told(tmp_path, caplog, capfd):
    datasets = head_series()
    with quiet_pydicom():
        datasets[2].PatientAge = SECRETS[0]  # a value that its type does not allow
        for data, keyword in ((datasets[5], "SliceThickness"), (datasets[6], "ImageOrientationPatient")):
            data[keyword] = DataElement(tag_for_keyword(keyword), "LO", SECRETS[1])
        datasets[3].PixelData = b"12"
        folder = write(tmp_path / "exam", datasets)
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        results = read(folder) + [read(path)[0] for path in sorted(folder.iterdir())]
        results += read(write_single(tmp_path, middle()), series="1.2.3")
    told = [str(r) for r in results if isinstance(r, RefusedInput)]
    told += [n.message for r in results for n in r.notices]
    told += [v for r in results if isinstance(r, Exam) for v in r.source.details.values()]
    out, err = capfd.readouterr()
    everything = "\n".join([*told, caplog.text, out, err])
    uids = [
        datasets[0].StudyInstanceUID,
        datasets[0].SeriesInstanceUID,
        *(d.SOPInstanceUID for d in datasets),
    ]
    for secret in [*SECRETS, "20200102", *uids]:
        assert secret not in everything
    assert err == ""


def test_settings_of_pydicom_are_put_back(tmp_path):
    logger, mode = logging.getLogger("pydicom"), pydicom.config.settings.reading_validation_mode
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with quiet_pydicom():
            entered.set()
            leave.wait(5)

    other = threading.Thread(target=hold)
    with quiet_pydicom():
        other.start()
        entered.wait(5)
        assert logger.disabled
    assert logger.disabled, "another thread is still reading"
    leave.set()
    other.join()
    assert not logger.disabled
    assert pydicom.config.settings.reading_validation_mode == mode


def test_frames_after_a_broken_one_are_left_out(tmp_path):
    data = enhanced()
    data.compress(RLELossless, generate_instance_uid=False)
    path = write_single(tmp_path, data)
    assert isinstance(read(path)[0], Exam)
    raw = bytearray(path.read_bytes())
    raw[-3000:] = bytes(3000)
    path.write_bytes(raw)
    assert read(path)[0] is not None
