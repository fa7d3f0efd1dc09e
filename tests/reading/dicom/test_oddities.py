"""Every file and folder of ``dicom-oddities``: what real archives send, and what is made of it.

One row a case. A code alone: the input is refused with it. ``EXAM`` and codes: it is read, with exactly these
notices. Chest slices are refused by their header when given as they are; their pixels are checked by asking for the
series, which overrules that.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ichor.errors import RefusedInput
from ichor.exam import Exam

from ..phantoms import codes, read

EXAM = "EXAM"
CHEST = "transfer_syntaxes_chest/CTImage.dcm"
CHEST_UNCOMPRESSED = f"{CHEST}_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm"
NOT_HEAD = ("body_part_not_head",)
TILT = {"gantry_tilt", "padding_replaced"}

FOLDERS = [
    ("ge_head_tilt_varspacing", [(EXAM, TILT | {"spacing_uneven", "thickness_mixed"})]),
    (
        "philips_phantom",
        [
            (
                EXAM,
                {"gantry_tilt", "localizer", "not_an_image", "secondary_capture", "series_chosen"}
                | {"series_left_out", "slices_missing", "spacing_uneven"},
            )
        ],
    ),
    ("philips_phantom/S21610/S1000", [("localizer", {"not_an_image"})]),
    (
        "philips_phantom/S21610/S2010",
        [(EXAM, {"gantry_tilt", "not_an_image", "slices_missing", "spacing_uneven"})],
    ),
    (
        "philips_phantom/S21610/S3010",
        [(EXAM, {"gantry_tilt", "not_an_image", "slices_missing", "spacing_uneven"})],
    ),
    ("philips_phantom/S21610/S4010", [("secondary_capture", {"not_an_image"})]),
    ("abdomen", [("body_part_not_head", {"spacing_uneven", "slices_missing", "slices_thick"})]),
    ("mr", [("modality_not_ct", set())]),
    # The same slice five times over, and once more in another study.
    ("wg04_ct", [("too_few_slices", {"positions_duplicate"}), ("too_few_slices", set())]),
    (
        "transfer_syntaxes_chest",
        [
            ("no_hounsfield", None),  # perfusion map
            ("too_few_slices", None),  # CT1: one abdomen slice
            ("too_few_slices", None),  # CT2: one head slice
            ("too_few_slices", None),  # the chest slice in sixteen transfer syntaxes
            ("modality_not_ct", None),  # ultrasound
        ],
    ),
]

FILES = [
    ("transfer_syntaxes_chest/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm", "no_hounsfield"),
    ("transfer_syntaxes_chest/CT1_J2KR", "body_part_not_head"),
    ("transfer_syntaxes_chest/CT2_J2KR", EXAM),
    ("transfer_syntaxes_chest/no-pixel-data.dcm", "modality_not_ct"),
    ("transfer_syntaxes_chest/no-pixel-spacing.dcm", "modality_not_ct"),
    *((f"mr/{k}.dcm", "modality_not_ct") for k in (1, 2, 3)),
    *((f"abdomen/CT00000{k}.dcm", "body_part_not_head") for k in range(6)),
    *(
        (f"wg04_ct/{name}_CT1_{name}", "body_part_not_head")
        for name in ("J2KI", "J2KR", "JLSL", "JLSN", "JPLL", "RLE")
    ),
    *((f"ge_head_tilt_varspacing/{k:02d}.dcm", EXAM) for k in range(1, 29)),
    ("philips_phantom/DICOMDIR", "no_image"),
    ("philips_phantom/S21610/DIRFILE", "no_image"),
    *((f"philips_phantom/S21610/S{k}010/DIRFILE", "no_image") for k in (2, 3, 4)),
    ("philips_phantom/S21610/S1000/DIRFILE", "no_image"),
    ("philips_phantom/S21610/S1000/I10", "localizer"),
    *((f"philips_phantom/S21610/S4010/I{k}0", "secondary_capture") for k in range(1, 6)),
    *((f"philips_phantom/S21610/S2010/I{k}0", EXAM) for k in (1, 2, *range(10, 28))),
    *((f"philips_phantom/S21610/S3010/I{k}0", EXAM) for k in (1, 2, *range(10, 26))),
]

# Transfer syntax, and the greatest mean difference from the uncompressed slice in HU.
CHEST_FILES = [
    (CHEST, 0.0),
    (CHEST_UNCOMPRESSED, 0.0),
    (f"{CHEST}_LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm", 0.0),
    (f"{CHEST}_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm", 0.0),
    (f"{CHEST}_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm", 0.0),
    (f"{CHEST}_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm", 0.0),
    (f"{CHEST}_JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm", 0.0),
    (f"{CHEST}_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm", 0.0),
    (f"{CHEST}_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm", 0.0),
    (f"{CHEST}_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm", 0.0),
    (f"{CHEST}_JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm", 1.0),
    (f"{CHEST}_JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm", 1.0),
    (f"{CHEST}_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm", 5.0),
    (f"{CHEST}_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm", 5.0),
    (f"{CHEST}_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm", 5.0),
]
CHEST_8_BIT = f"{CHEST}_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm"


@pytest.fixture(scope="module")
def oddities(shared_data) -> Path:
    return shared_data / "dicom-oddities"


def test_no_file_is_without_a_row(oddities):
    present = {p.relative_to(oddities).as_posix() for p in oddities.rglob("*") if p.is_file()}
    listed = {name for name, *_ in [*FILES, *CHEST_FILES, (CHEST_8_BIT,)]}
    assert present == listed


@pytest.mark.parametrize(("folder", "expected"), FOLDERS, ids=[f for f, _ in FOLDERS])
def test_folder(oddities, folder, expected):
    results = read(oddities / folder)
    assert [r.code if isinstance(r, RefusedInput) else EXAM for r in results] == [
        code for code, _ in expected
    ]
    for result, (_, notices) in zip(results, expected, strict=True):
        if notices is not None:
            assert codes(result) == notices


@pytest.mark.parametrize(("name", "expected"), FILES, ids=[f for f, _ in FILES])
def test_file(oddities, name, expected):
    (result,) = read(oddities / name)
    if isinstance(result, RefusedInput):
        assert result.code == expected
        assert Path(name).name in str(result)
    else:
        assert expected == EXAM
        assert "single_slice" in codes(result)
        assert result.volume.shape == (1, 512, 512)
        assert np.percentile(result.volume, 2) < -900


def series_of(path: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID)


def read_anyway(path: Path) -> Exam:
    (result,) = read(path, series=series_of(path))
    if isinstance(result, RefusedInput):
        raise result
    return result


@pytest.mark.parametrize(
    ("name", "tolerance"), CHEST_FILES, ids=[f.rpartition("_")[2] for f, _ in CHEST_FILES]
)
def test_transfer_syntax(oddities, name, tolerance):
    (refused,) = read(oddities / name)
    assert isinstance(refused, RefusedInput) and refused.code == "body_part_not_head"
    reference = read_anyway(oddities / CHEST_UNCOMPRESSED).volume.astype(int)
    exam = read_anyway(oddities / name)
    assert np.abs(exam.volume - reference).mean() <= tolerance
    # Outside the scan circle lies a fifth of the square (1 - pi/4), and GE's padding there has become air.
    hu = exam.volume
    assert hu[0, 0, 0] == -1024
    shares = [
        (hu == -1024).mean(),
        ((hu > -970) & (hu < -700)).mean(),
        ((hu >= 0) & (hu < 120)).mean(),
        (hu > 300).mean(),
    ]
    assert shares == pytest.approx([0.213, 0.215, 0.163, 0.017], abs=0.02), "padding, lung, muscle, bone"
    assert ("lossy_compression" in codes(exam)) == (tolerance > 0)


def test_eight_bits_in_steps_of_32_hounsfield_are_none(oddities):
    for series in (None, series_of(oddities / CHEST_8_BIT)):
        (refused,) = read(oddities / CHEST_8_BIT, series=series)
        assert isinstance(refused, RefusedInput) and refused.code == "no_hounsfield"
        assert "32.1 HU a step" in refused.found


@pytest.mark.parametrize(
    ("name", "tolerance"), [("JLSL", 0), ("JPLL", 0), ("RLE", 0), ("JLSN", 2), ("J2KI", 60)]
)
def test_wg04_syntaxes_agree(oddities, name, tolerance):
    reference = read_anyway(oddities / "wg04_ct" / "J2KR_CT1_J2KR").volume.astype(int)
    exam = read_anyway(oddities / "wg04_ct" / f"{name}_CT1_{name}")
    assert np.abs(exam.volume - reference).mean() <= tolerance
    assert "contrast" in codes(exam)
