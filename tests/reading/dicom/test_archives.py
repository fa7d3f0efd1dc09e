"""What real archives send, whole: each kind of fault rebuilt on a phantom, with the volume that is right."""

# ruff: noqa: RUF001 - letters of other scripts are meant as such

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, generate_uid

from ichor.uids import hashed_uid

from ..phantoms import (
    BRAIN,
    Plan,
    codes,
    enhanced,
    expected_volume,
    head_hu,
    head_series,
    positions,
    read,
    read_one,
    refusal,
    slice_points,
    store_hu,
    write,
)
from .test_series import trunk

SECONDARY = "1.2.840.10008.5.1.4.1.1.7"


def the_head(exam) -> bool:
    return np.array_equal(exam.volume, expected_volume(exam))


def changed(datasets, **tags):
    for data in datasets:
        for keyword, value in tags.items():
            if value is None:
                delattr(data, keyword)
            else:
                setattr(data, keyword, value)
    return datasets


def noisy(datasets, hu: float = 60.0):
    """The same slices through a sharp kernel."""
    rng = np.random.default_rng(0)
    for data in datasets:
        stored = np.frombuffer(data.PixelData, np.int16).reshape(data.Rows, data.Columns) - 1024.0
        store_hu(data, np.clip(stored + rng.normal(0, hu, stored.shape), -1024, 3000))
    return changed(datasets, ConvolutionKernel="H70h")


def moved(datasets, mm: float, first: int = 0):
    for data in datasets:
        x, y, z = data.ImagePositionPatient
        data.ImagePositionPatient = [x, y, float(z) + mm]
        data.InstanceNumber += first
    return datasets


# -- two reconstructions under one UID -----------------------------------------------------------------


@pytest.mark.parametrize("numbers", [-500, 500], ids=["bone first by number", "soft first by number"])
@pytest.mark.parametrize(
    ("plan", "offset"), [(Plan(n=140, step=1.0), 0), (Plan(), 3.25), (Plan(), 0), (Plan(), 1.0)]
)
def test_the_soft_reconstruction_is_taken_and_the_bone_one_is_told(tmp_path, plan, offset, numbers):
    study, series = generate_uid(), generate_uid()
    soft = head_series(study=study, series=series)
    bone = moved(noisy(head_series(plan, study=study, series=series)), offset, numbers)
    exam = read_one(write(tmp_path / "study", bone + soft))
    assert exam.n_slices == 22 and the_head(exam)
    assert codes(exam) == {"series_chosen", "series_left_out"}
    chosen, left = (
        next(n.message for n in exam.notices if n.code == c) for c in ("series_chosen", "series_left_out")
    )
    assert "kernel h31s" in chosen and "several acquisitions" in chosen
    assert "kernel h70h" in left and hashed_uid(series) in left


@pytest.mark.parametrize(
    "tags",
    [
        {"ContrastBolusAgent": "Iomeron 400"},
        {"AcquisitionNumber": 2, "AcquisitionTime": "121500"},
        {"AcquisitionTime": "121500"},
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]},
    ],
    ids=["agent", "acquisition", "time", "image type"],
)
def test_a_scan_after_contrast_under_the_same_uid_is_not_mixed_in(tmp_path, tags):
    study, series = generate_uid(), generate_uid()
    times = {"AcquisitionNumber": 1, "AcquisitionTime": "120000"}
    plain = changed(head_series(study=study, series=series), **times)
    after = changed(moved(head_series(study=study, series=series), 2.0, 50), **{**times, **tags})
    for data in after:
        stored = np.frombuffer(data.PixelData, np.int16).reshape(data.Rows, data.Columns) - 1024.0
        store_hu(data, np.where(stored == BRAIN, BRAIN + 20, stored))
    exam = read_one(write(tmp_path / "study", after + plain))
    assert the_head(exam) and "series_left_out" in codes(exam)


# -- a UID for each slice ------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["SeriesInstanceUID", "StudyInstanceUID", "PatientID"])
def test_slices_with_a_uid_of_their_own_each_are_one_exam(tmp_path, tag):
    datasets = head_series()
    for k, data in enumerate(datasets):
        setattr(data, tag, f"1.2.3.{k}")
    exam = read_one(write(tmp_path / "study", datasets))
    assert the_head(exam) and codes(exam) == {"uids_joined"}
    assert hashed_uid(exam.source.series_uid)
    assert read_one(tmp_path / "study", series=hashed_uid(exam.source.series_uid)).n_slices == 22


def test_any_of_the_slices_uids_takes_the_joined_series(tmp_path):
    datasets = head_series()
    for k, data in enumerate(datasets):
        data.SeriesInstanceUID = f"1.2.3.{k}"
    folder = write(tmp_path / "study", datasets)
    for uid in ("1.2.3.9", hashed_uid("1.2.3.17")):
        assert read_one(folder, series=uid).n_slices == 22


def test_slices_with_nothing_in_common_are_refused_once_and_not_slice_by_slice(tmp_path):
    datasets = head_series()
    for k, data in enumerate(datasets):
        data.SeriesInstanceUID, data.StudyInstanceUID, data.PatientID = f"1.3.{k}", f"1.2.{k}", f"anon{k}"
    refused = refusal(write(tmp_path / "study", datasets))
    assert refused.code == "too_few_slices" and "22 slices, each with a study" in refused.found
    changed(datasets, FrameOfReferenceUID="1.9")
    assert the_head(read_one(write(tmp_path / "linked", datasets)))


# -- Hounsfield units under another class --------------------------------------------------------------


def secondary(**tags):
    datasets = changed(head_series(), SOPClassUID=SECONDARY, ImageType=["DERIVED", "SECONDARY"], **tags)
    for data in datasets:
        data.file_meta.MediaStorageSOPClassUID = SECONDARY
    return datasets


def test_a_ct_series_under_the_secondary_capture_class_is_read_and_told(tmp_path):
    exam = read_one(write(tmp_path / "study", secondary()))
    assert the_head(exam) and codes(exam) == {"secondary_with_hounsfield"}


@pytest.mark.parametrize(
    "tags",
    [
        {"ImagePositionPatient": None},
        {"PixelSpacing": None},
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"Modality": "OT"},
    ],
    ids=["no position", "no spacing", "no rescale", "no CT"],
)
def test_a_capture_without_all_of_that_is_refused_by_its_uid_and_taken_where_asked_for(tmp_path, tags):
    folder = write(tmp_path / "study", secondary(**tags))
    refused = refusal(folder)
    assert refused.code == "secondary_capture" and "positions" in refused.found
    assert (
        hashed_uid(refused.series_uid) in str(refused) and hashed_uid(refused.series_uid) in refused.sentence
    )
    exam = read_one(folder, series=hashed_uid(refused.series_uid))
    assert exam.n_slices == 22 and np.array_equal(
        exam.volume, read_one(write(tmp_path / "ct", head_series())).volume
    )


def test_a_screen_that_is_asked_for_is_refused_by_its_pixels(tmp_path):
    datasets = secondary(ImagePositionPatient=None)
    for data in datasets:
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
        data.PixelData = bytes(np.random.default_rng(1).integers(0, 255, data.Rows * data.Columns, np.uint8))
        del data.RescaleSlope, data.RescaleIntercept
    folder = write(tmp_path / "study", datasets)
    assert refusal(folder, series=datasets[0].SeriesInstanceUID).code == "no_hounsfield"


def test_an_original_goes_before_a_capture_of_it(tmp_path):
    original = head_series()
    capture = secondary(StudyInstanceUID=original[0].StudyInstanceUID)
    exam = read_one(write(tmp_path / "study", capture + original))
    assert exam.source.series_uid == original[0].SeriesInstanceUID


# -- functional groups elsewhere -----------------------------------------------------------------------


DOWN = list(range(21, -1, -1))


@pytest.mark.parametrize("sop_class", [CTImageStorage, SECONDARY, f"{SECONDARY}.3"])
def test_functional_groups_count_in_any_class(tmp_path, sop_class):
    data = enhanced(order=DOWN)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop_class
    exam = read_one(next(write(tmp_path / "study", [data]).iterdir()))
    assert the_head(exam)
    assert codes(exam) == (set() if sop_class == CTImageStorage else {"secondary_with_hounsfield"})
    assert exam.source.frame_numbers == tuple(range(22, 0, -1))


def test_groups_that_hold_a_part_of_each_macro_are_merged(tmp_path):
    data = enhanced(order=DOWN)
    shared = data.SharedFunctionalGroupsSequence[0]
    for group in data.PerFrameFunctionalGroupsSequence:
        measures, scale = Dataset(), Dataset()
        measures.SliceThickness, measures.PixelSpacing = 6.5, None
        scale.RescaleSlope = 1
        group.PixelMeasuresSequence, group.PixelValueTransformationSequence = [measures], [scale]
    offset = Dataset()
    offset.RescaleIntercept = -1024
    shared.PixelValueTransformationSequence = [offset]
    del shared.PixelMeasuresSequence[0].SliceThickness
    exam = read_one(next(write(tmp_path / "study", [data]).iterdir()))
    assert the_head(exam) and codes(exam) == set()
    assert (exam.geometry.thickness == 6.5).all()


def test_groups_of_an_object_of_one_frame_count(tmp_path):
    whole = enhanced()
    datasets = []
    for k in range(22):
        one = enhanced(order=[k])
        one.StudyInstanceUID, one.SeriesInstanceUID = whole.StudyInstanceUID, whole.SeriesInstanceUID
        if k % 2:
            del one.NumberOfFrames
        datasets.append(one)
    exam = read_one(write(tmp_path / "study", datasets))
    assert the_head(exam) and codes(exam) == set()


def test_a_position_that_all_frames_share_is_none(tmp_path):
    data = enhanced()
    where = data.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
    for group in data.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence = where
    exam = read_one(next(write(tmp_path / "study", [data]).iterdir()))
    assert exam.n_slices == 22 and "position_missing" in codes(exam)
    assert not exam.geometry.coordinates_known


def test_two_kernels_in_the_frames_of_one_object_are_parted(tmp_path):
    data = enhanced(order=[*range(22), *range(22)])
    for k, group in enumerate(data.PerFrameFunctionalGroupsSequence):
        kernel = Dataset()
        kernel.ConvolutionKernel = "H31s" if k < 22 else "H70h"
        group.CTReconstructionSequence = [kernel]
    exam = read_one(next(write(tmp_path / "study", [data]).iterdir()))
    assert the_head(exam) and exam.source.frame_numbers == tuple(range(1, 23))
    assert "kernel h70h" in next(n.message for n in exam.notices if n.code == "series_left_out")


@pytest.mark.parametrize("keyword", ["StackID", "TemporalPositionIndex", "FrameAcquisitionNumber"])
def test_stacks_and_phases_in_the_frames_of_one_object_are_parted(tmp_path, keyword):
    data = enhanced(order=[*range(22), *range(22)])
    for k, group in enumerate(data.PerFrameFunctionalGroupsSequence):
        content = Dataset()
        setattr(content, keyword, 1 + k // 22 if keyword != "StackID" else str(1 + k // 22))
        group.FrameContentSequence = [content]
    exam = read_one(next(write(tmp_path / "study", [data]).iterdir()))
    assert the_head(exam) and exam.source.frame_numbers == tuple(range(1, 23))
    assert "positions_duplicate" not in codes(exam) and "series_left_out" in codes(exam)


# -- numbers as people write them ----------------------------------------------------------------------


def as_text(datasets, vr="DS", unit="", separator=","):
    """Write every measure as text with decimal commas."""
    for data in datasets:
        for keyword in (
            "PixelSpacing",
            "SliceThickness",
            "RescaleSlope",
            "RescaleIntercept",
            "ImagePositionPatient",
        ):
            element = data[keyword]
            values = element.value if element.VM > 1 else [element.value]
            text = "\\".join(f"{float(v):.4f}{unit}".replace(".", separator) for v in values)
            content = text.encode() + b" " * (len(text) % 2)
            data[element.tag] = RawDataElement(element.tag, vr, len(content), content, 0, False, True)
    return datasets


@pytest.mark.parametrize(
    ("vr", "unit", "separator"),
    [("DS", "", ","), ("UT", "", "."), ("LO", " mm", "."), ("DS", "mm", ","), ("UN", "", ",")],
)
def test_decimal_commas_units_and_other_representations(tmp_path, vr, unit, separator):
    exam = read_one(write(tmp_path / "study", as_text(head_series(), vr, unit, separator)))
    assert the_head(exam) and codes(exam) == set()
    assert exam.geometry.spacing == (3.4, 3.0)


def test_decimal_commas_in_functional_groups(tmp_path):
    data = enhanced()
    for group in data.PerFrameFunctionalGroupsSequence:
        holder = group.PlanePositionSequence[0]
        element = holder["ImagePositionPatient"]
        content = "\\".join(f"{float(v):.4f}".replace(".", ",") for v in element.value).encode()
        content += b" " * (len(content) % 2)
        holder[element.tag] = RawDataElement(element.tag, "DS", len(content), content, 0, False, True)
    exam = read_one(next(write(tmp_path / "study", [data]).iterdir()))
    assert the_head(exam) and codes(exam) == set()


# -- contrast in words and pixels ----------------------------------------------------------------------


def enhancing(datasets, hu: int = 12):
    for data in datasets:
        stored = np.frombuffer(data.PixelData, np.int16).reshape(data.Rows, data.Columns) - 1024.0
        store_hu(data, np.where(stored == BRAIN, BRAIN + hu, stored))
    return datasets


@pytest.mark.parametrize(
    ("plain", "enhanced_words"),
    [
        ("CRANIO SEM CONTRASTE", "CRANIO COM CONTRASTE"),
        ("SCHEDEL ZONDER CONTRAST", "SCHEDEL MET CONTRAST"),
        ("Crâne sans injection", "Crâne avec injection"),
        ("Głowa bez kontrastu", "Głowa z kontrastem"),
        ("Голова без контраста", "Голова с контрастом"),
        ("頭部単純", "頭部造影"),
        ("Series 3", "Series 4"),  # the pixels alone
    ],
)
@pytest.mark.parametrize("hu", [12, 0], ids=["seen in the pixels", "not seen"])
def test_the_plain_series_is_taken_in_every_language(tmp_path, plain, enhanced_words, hu):
    if plain == "Series 3" and not hu:
        pytest.skip("nothing tells the two apart")
    study = generate_uid()
    first = changed(head_series(study=study), SeriesDescription=plain, SpecificCharacterSet="ISO_IR 192")
    after = enhancing(head_series(Plan(n=23), study=study), hu)
    changed(after, SeriesDescription=enhanced_words, SpecificCharacterSet="ISO_IR 192")
    exam = read_one(write(tmp_path / "study", first + after))
    assert exam.source.series_uid == first[0].SeriesInstanceUID
    assert "contrast" not in codes(exam)


def test_where_points_are_equal_the_earlier_acquisition_is_taken(tmp_path):
    study = generate_uid()
    later = changed(
        head_series(Plan(n=23), study=study), AcquisitionTime="120500", AcquisitionDate="20200102"
    )
    first = changed(head_series(study=study), AcquisitionTime="120000", AcquisitionDate="20200102")
    exam = read_one(write(tmp_path / "study", later + first))
    assert exam.source.series_uid == first[0].SeriesInstanceUID


@pytest.mark.parametrize("agent", ["N/A", "NON CONTRAST", "SEM CONTRASTE", "kein KM", "0"])
def test_an_agent_that_is_none_is_no_contrast(tmp_path, agent):
    exam = read_one(write(tmp_path / "study", changed(head_series(), ContrastBolusAgent=agent)))
    assert codes(exam) == set()


def test_an_agent_that_groups_say_was_not_given_is_no_contrast(tmp_path):
    data = enhanced()
    data.ContrastBolusAgent = "Iomeron"
    usage = Dataset()
    usage.ContrastBolusAgentAdministered = "NO"
    data.SharedFunctionalGroupsSequence[0].ContrastBolusUsageSequence = [usage]
    assert "contrast" not in codes(read_one(next(write(tmp_path / "study", [data]).iterdir())))


# -- the head by another name --------------------------------------------------------------------------


def test_a_head_that_the_header_names_otherwise_is_read_and_told(tmp_path):
    datasets = changed(head_series(), BodyPartExamined="CHEST", SeriesDescription="5.0 H31s")
    exam = read_one(write(tmp_path / "study", datasets))
    assert the_head(exam) and codes(exam) == {"body_part_contradicted"}


def test_a_head_among_other_parts_in_french_needs_no_word_about_it(tmp_path):
    datasets = changed(
        head_series(),
        BodyPartExamined="",
        SeriesDescription="CRANE SANS IV",
        StudyDescription="TDM CRANE + RACHIS CERVICAL",
    )
    assert codes(read_one(write(tmp_path / "study", datasets))) == set()


def test_a_trunk_is_refused_by_its_uid_which_series_takes(tmp_path):
    folder = write(tmp_path / "study", trunk(generate_uid(), BodyPartExamined="", SeriesDescription="Kopf"))
    refused = refusal(folder)
    assert refused.code == "body_part_not_head"
    uid = hashed_uid(refused.series_uid)
    assert f"--series {uid}" in refused.remedy and str(refused).count(uid) == 1
    assert read_one(folder, series=uid).n_slices == 22


def test_what_the_pixels_do_not_tell_is_left_to_the_words(tmp_path):
    def blurred(body_part):
        datasets = changed(head_series(), BodyPartExamined=body_part, SeriesDescription="")
        for data, where in zip(datasets, positions(Plan()), strict=True):
            hu = head_hu(slice_points(Plan(), where))
            store_hu(data, np.where(hu > -500, 150, -1000) + np.where(hu > 800, 700, 0))
        return datasets

    assert refusal(write(tmp_path / "knee", blurred("KNEE"))).code == "body_part_not_head"
    assert read_one(write(tmp_path / "head", blurred("HEAD"))).n_slices == 22


def test_every_refusal_of_a_series_names_its_uid(tmp_path):
    for name, datasets in {
        "few": head_series(Plan(n=3)),
        "coronal": head_series(Plan(column=(0, 0, -1))),
        "map": changed(head_series(), ImageType=["DERIVED", "PRIMARY", "PERFUSION", "CBF"]),
        "scout": changed(head_series(), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "broken": changed(head_series(), PixelData=b""),
    }.items():
        refused = refusal(write(tmp_path / name, datasets))
        assert refused.series_uid == datasets[0].SeriesInstanceUID, name
        assert hashed_uid(refused.series_uid) in refused.sentence


# -- no side without positions -------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient"])
def test_without_positions_or_orientation_no_coordinates_are_claimed(tmp_path, tag):
    exam = read_one(write(tmp_path / "study", changed(head_series(), **{tag: None})))
    assert not exam.geometry.coordinates_known
    assert read_one(write(tmp_path / "whole", head_series())).geometry.coordinates_known


def test_studies_beside_each_other_still_give_one_result_each(tmp_path):
    assert len(read(write(tmp_path / "two", head_series() + head_series()))) == 2
