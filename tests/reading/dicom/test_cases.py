"""The cases of real archives on real slices, where the folder of cases lies beside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ichor.exam import Exam
from ichor.uids import hashed_uid

from ..phantoms import codes, read, read_one

CASES = Path(os.environ.get("ICHOR_CASES") or Path(__file__).parents[4] / "shared" / "cases")
PLAIN, SUBTLE = "081", "078"
"""Exams that the cases are made from."""

WANTED = {
    "two_reconstructions_one_uid/thin_bone_thick_soft": (SUBTLE, {"series_chosen", "series_left_out"}),
    "two_reconstructions_one_uid/between_each_other": (SUBTLE, {"series_chosen", "series_left_out"}),
    "two_reconstructions_one_uid/thin_thick_one_kernel": (SUBTLE, {"series_chosen", "series_left_out"}),
    "two_reconstructions_one_uid/soft_alone": (SUBTLE, set()),
    "a_uid_for_each_slice/series_uid": (PLAIN, {"uids_joined"}),
    "a_uid_for_each_slice/study_uid": (PLAIN, {"uids_joined"}),
    "a_uid_for_each_slice/patient": (PLAIN, {"uids_joined"}),
    "secondary_class_with_hounsfield/series": (PLAIN, {"secondary_with_hounsfield"}),
    "functional_groups_elsewhere/plain_ct_class": (PLAIN, set()),
    "signedness_contradicts_the_values/unsigned12_as_signed": (PLAIN, {"pixel_layout_contradicted"}),
    "signedness_contradicts_the_values/signed16_as_unsigned": (PLAIN, {"pixel_layout_contradicted"}),
    "box_without_positions/no_positions": (SUBTLE, {"position_missing"}),
    "slope_absent_intercept_present/slope_absent": (SUBTLE, {"rescale_assumed"}),
    "slope_absent_intercept_present/slope_zero": (SUBTLE, {"rescale_assumed"}),
    "slope_absent_intercept_present/decimal_comma": (SUBTLE, set()),
    "contrast_words_of_other_languages/pt": (PLAIN, {"series_chosen", "series_left_out"}),
    "contrast_words_of_other_languages/nl": (PLAIN, {"series_chosen", "series_left_out"}),
    "contrast_words_of_other_languages/fr": (PLAIN, {"series_chosen", "series_left_out"}),
    "contrast_words_of_other_languages/agent_na": (PLAIN, set()),
    "contrast_words_of_other_languages/agent_non": (PLAIN, set()),
    "contrast_words_of_other_languages/agent_sem": (PLAIN, set()),
    "head_named_in_another_language/french": (PLAIN, set()),
    "head_named_in_another_language/wrong_part": (PLAIN, {"body_part_contradicted"}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of a case, made once."""
    if not (CASES / "base.py").is_file():
        pytest.skip("needs the folder of cases: ICHOR_CASES, or ../shared/cases beside the checkout")
    folder = tmp_path_factory.mktemp("cases")

    def make(name: str) -> Path:
        if not (folder / name).exists():
            command = [sys.executable, str(CASES / name / "make.py"), str(folder / name)]
            subprocess.run(command, check=True, capture_output=True)
        return folder / name

    return make


@pytest.fixture(scope="module")
def true_hu(tmp_path_factory):
    """HU of an exam that the cases are made from."""
    folder = tmp_path_factory.mktemp("true")

    def hu(patient: str) -> np.ndarray:
        kept = folder / f"{patient}.npy"
        if not kept.exists():
            code = f"import base, numpy; numpy.save({str(kept)!r}, base.head_hu({patient!r})[0])"
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=CASES)
        return np.asarray(np.load(kept))

    return hu


@pytest.mark.parametrize("name", WANTED)
def test_the_right_slices_in_the_right_units_with_the_right_notices(made, true_hu, name):
    case, _, variant = name.partition("/")
    patient, notices = WANTED[name]
    exam = read_one(made(case) / variant)
    assert np.array_equal(exam.volume, np.clip(true_hu(patient), -1024, 3071))
    assert codes(exam) == notices
    assert exam.geometry.coordinates_known == (variant != "no_positions")


def test_the_series_left_out_is_taken_where_asked_for(made):
    folder = made("contrast_words_of_other_languages") / "pt"
    (plain,) = read(folder)
    left_out = next(n.message for n in plain.notices if n.code == "series_left_out").partition(" ")[0]
    (other,) = read(folder, series=left_out)
    assert isinstance(other, Exam) and hashed_uid(other.source.series_uid) == left_out
    assert "contrast" in codes(other)
