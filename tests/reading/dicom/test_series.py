"""Which series of a study is taken, and what is said of the others."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import CTImageStorage, generate_uid

from ichor.exam import Exam
from ichor.reading.dicom.headers import read_headers
from ichor.reading.dicom.parts import Part
from ichor.reading.dicom.series import RULES, has_contrast, is_bone_kernel, score
from ichor.reading.files import InputFile
from ichor.reading.limits import Limits
from ichor.uids import hashed_uid

from ..phantoms import Plan, base_dataset, codes, head_series, read, read_one, refusal, store_hu, write

ORDINARY = Plan()
CT_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"


def variant(study, plan=ORDINARY, **tags):
    datasets = head_series(plan, study=study)
    for data in datasets:
        for keyword, value in tags.items():
            setattr(data, keyword, value)
    return datasets


def trunk(study, **tags):
    """A chest: much fat, little of brain's density, lungs."""
    datasets = variant(study, **tags)
    for data in datasets:
        i, j = np.mgrid[: data.Rows, : data.Columns]
        r = np.hypot((i - data.Rows / 2) / (data.Rows * 0.4), (j - data.Columns / 2) / (data.Columns * 0.45))
        hu = np.where(r < 0.55, -850, np.where(r < 0.75, 40, np.where(r < 1, -100, -1000)))
        hu = np.where((r > 0.6) & (r < 0.64), 400, hu)
        store_hu(data, hu)
    return datasets


def report(study):
    data = base_dataset(generate_uid(), study, sop_class=CT_REPORT)
    data.Modality = "SR"
    return [data]


BETTER_THAN = {
    "contrast agent": {"ContrastBolusAgent": "Iomeron 350"},
    "contrast in words": {"SeriesDescription": "Head with contrast"},
    "CT angiography": {"SeriesDescription": "CTA COW 1.0"},
    "bone kernel": {"ConvolutionKernel": "H60s"},
    "GE bone kernel": {"ConvolutionKernel": "BONEPLUS"},
    "derived": {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
    "projection": {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]},
    "another part of the body": {"BodyPartExamined": "CHEST", "SeriesDescription": "Lung"},
    "coronal": {"plan": Plan(column=(0, 0, -1))},
    "few slices": {"plan": Plan(n=3)},
    "thick": {"plan": Plan(n=16, step=8.5)},
    "perfusion map": {"ImageType": ["DERIVED", "PRIMARY", "PERFUSION", "RCBF"]},
}


@pytest.mark.parametrize("other", BETTER_THAN.values(), ids=BETTER_THAN.keys())
@pytest.mark.parametrize("first", ["plain", "other"])
def test_the_plain_axial_head_is_taken(tmp_path, other, first):
    study = generate_uid()
    plain = variant(study, Plan(n=26, step=5.0), SeriesDescription="Head without contrast")
    series = [("a", plain), ("b", variant(study, **other))]
    for prefix, datasets in series if first == "plain" else series[::-1]:
        write(tmp_path / "study", datasets, prefix)
    exam = read_one(tmp_path / "study")
    assert exam.source.series_uid == plain[0].SeriesInstanceUID
    chosen = next(n.message for n in exam.notices if n.code == "series_chosen")
    assert hashed_uid(plain[0].SeriesInstanceUID) in chosen
    assert "points" in chosen
    assert "series_left_out" in codes(exam)


def test_localizers_captures_and_reports_are_left_out_with_their_codes(tmp_path):
    study = generate_uid()
    localizer = variant(study, Plan(n=1, column=(0, 0, -1)), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    capture = variant(study, Plan(n=2), SOPClassUID=SECONDARY)
    for data in capture:
        del data.ImagePositionPatient
    write(tmp_path / "study", head_series(study=study) + localizer + capture + report(study))
    exam = read_one(tmp_path / "study")
    assert {"localizer", "secondary_capture", "series_left_out", "series_chosen"} <= codes(exam)


def test_pixels_decide_where_headers_say_nothing(tmp_path):
    study = generate_uid()
    nothing = {"BodyPartExamined": "", "SeriesDescription": ""}
    head = variant(study, Plan(n=22), **nothing)
    chest = trunk(study, plan=Plan(n=40, step=6.5), **nothing)
    exam = read_one(write(tmp_path / "study", chest + head))
    assert exam.source.series_uid == head[0].SeriesInstanceUID
    assert "another part of the body" in next(n.message for n in exam.notices if n.code == "series_left_out")


@pytest.mark.parametrize(
    "header", [{}, {"BodyPartExamined": "CHEST"}], ids=["by its pixels", "by its header"]
)
def test_a_chest_alone_is_refused(tmp_path, header):
    tags = {"BodyPartExamined": "", "SeriesDescription": "", **header}
    assert refusal(write(tmp_path / "study", trunk(generate_uid(), **tags))).code == "body_part_not_head"


def test_when_the_best_cannot_be_read_the_next_is_taken(tmp_path):
    study = generate_uid()
    broken = variant(study, SeriesDescription="Head without contrast")
    for data in broken[:6]:
        data.PixelData = data.PixelData[:100]
    second = variant(study, ConvolutionKernel="H60s")
    exam = read_one(write(tmp_path / "study", broken + second))
    assert exam.source.series_uid == second[0].SeriesInstanceUID
    assert "cannot be decoded" in next(n.message for n in exam.notices if n.code == "series_left_out")
    assert "bone_kernel" in codes(exam)


@pytest.mark.parametrize("hashed", [False, True])
def test_series_overrides_the_choice(tmp_path, hashed):
    study = generate_uid()
    plain, sharp = variant(study), variant(study, ConvolutionKernel="H60s", BodyPartExamined="CHEST")
    folder = write(tmp_path / "study", plain + sharp)
    uid = sharp[0].SeriesInstanceUID
    exam = read_one(folder, series=hashed_uid(uid) if hashed else uid)
    assert exam.source.series_uid == uid
    assert {"series_chosen", "bone_kernel"} <= codes(exam)


def test_a_series_that_is_not_there(tmp_path):
    folder = write(tmp_path / "study", head_series())
    write(tmp_path / "study" / "other", head_series())
    assert refusal(folder, series="1.2.3").code == "series_not_found"


def test_two_kernels_under_one_uid_are_parted(tmp_path):
    study, series = generate_uid(), generate_uid()
    soft, sharp = head_series(study=study, series=series), head_series(study=study, series=series)
    for data in sharp:
        data.ConvolutionKernel = "H70h"
        data.InstanceNumber -= 100  # first by number, but not the one to take
        store_hu(
            data, np.where(np.frombuffer(data.PixelData, np.int16) > 0, 500, -1000).reshape(data.Rows, -1)
        )
    exam = read_one(write(tmp_path / "study", sharp + soft))
    assert exam.n_slices == 22
    assert "bone_kernel" not in codes(exam)
    assert (exam.volume == 32).any()


def test_studies_and_patients_are_told_apart(tmp_path):
    one, other = head_series(), head_series(Plan(n=24))
    for data in other:
        data.PatientID = "someone else"
        data.StudyInstanceUID = one[0].StudyInstanceUID  # even where an archive mixed them up
    write(tmp_path / "in" / "a", one)
    write(tmp_path / "in" / "b", other)
    results = read(tmp_path / "in")
    assert sorted(r.n_slices for r in results if isinstance(r, Exam)) == [22, 24]
    assert all("mixed_patients" in codes(r) for r in results)


def header_of(tmp_path, **tags):
    folder = write(tmp_path, variant(generate_uid(), Plan(n=1), **tags))
    return read_headers(InputFile(next(folder.iterdir()), "x"), Limits())[0]


@pytest.mark.parametrize(
    ("words", "contrast"),
    [
        ("Head w/o contrast", False),
        ("HEAD WITHOUT IV CONTRAST", False),
        ("Schaedel nativ", False),
        ("NON-CON HEAD", False),
        ("Head no contrast 5mm", False),
        ("Head post trauma", False),
        ("CCT + KM", True),
        ("Head C+", True),
        ("post contrast", True),
        ("CTA head", True),
        ("4CC SEC 150CC", True),  # an injection
        ("Angio COW", True),
        ("Head 5.0 J30s", False),
    ],
)
def test_contrast_in_words(tmp_path, words, contrast):
    header = header_of(tmp_path, SeriesDescription=words, StudyDescription="CT HEAD")
    assert has_contrast(header) is contrast


def test_the_series_speaks_before_the_study(tmp_path):
    both = "CT HEAD W WO CONTRAST"
    assert not has_contrast(
        header_of(tmp_path / "a", SeriesDescription="Head without", StudyDescription="CT HEAD")
    )
    assert has_contrast(header_of(tmp_path / "b", SeriesDescription="Post contrast", StudyDescription=both))
    assert not has_contrast(
        header_of(tmp_path / "c", SeriesDescription="Pre contrast", StudyDescription=both)
    )


@pytest.mark.parametrize(
    ("kernel", "sharp"),
    [
        *((name, True) for name in ("H60s", "Hr68h", "J70h", "BONE", "FC30", "YA", "D")),
        *((name, False) for name in ("H31s", "Hr40", "J30s", "STANDARD", "SOFT", "FC21", "UB", "STD+", "B")),
    ],
)
def test_kernels(tmp_path, kernel, sharp):
    assert is_bone_kernel(header_of(tmp_path, ConvolutionKernel=kernel)) is sharp


def test_points_are_those_of_the_table(tmp_path):
    headers = [header_of(tmp_path / str(k)) for k in range(6)]
    candidate = score("1.2", Part(tuple(headers)))
    assert candidate.points == sum(RULES[rule][0] for rule in candidate.rules)
    assert {"head", "original"} <= set(candidate.rules)
    assert "the header names the head" in candidate.reasons


def test_a_series_without_a_middle_that_can_be_decoded_loses(tmp_path):
    study = generate_uid()
    broken, second = variant(study, SeriesDescription="Head without contrast"), variant(study)
    for data in broken:
        data.PixelData = data.PixelData[:100]
    exam = read_one(write(tmp_path / "study", broken + second))
    assert exam.source.series_uid == second[0].SeriesInstanceUID
    assert "cannot be decoded" in next(n.message for n in exam.notices if n.code == "series_left_out")


def test_no_modality_but_a_ct_object(tmp_path):
    exam = read_one(
        write(tmp_path / "study", variant(generate_uid(), Modality="", SOPClassUID=CTImageStorage))
    )
    assert exam.n_slices == 22
