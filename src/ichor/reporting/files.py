"""Findings as files: ``findings.json``, ``slices.csv`` and the NIfTI mask."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from ichor.exam import Exam
from ichor.findings import Findings
from ichor.labels import LABEL_NAMES

__all__ = ["CSV_COLUMNS", "write_csv", "write_json", "write_mask"]

CSV_COLUMNS: tuple[str, ...] = (
    "index",
    "position_mm",
    "sop_instance_uid",
    *LABEL_NAMES,
    "exam_uncertain",
)


def write_json(findings: Findings, path: Path) -> Path:
    """Write the findings, indented, in UTF-8.

    Parameters
    ----------
    findings
        What to write.
    path
        Of the file; replaced where it exists.

    Returns
    -------
    pathlib.Path
        ``path``.
    """
    # A file's name may hold bytes that are no text; these escapes of them are JSON's own.
    path.write_text(findings.to_json(indent=2) + "\n", encoding="utf-8", errors="backslashreplace")
    return path


def write_csv(findings: Findings, path: Path) -> Path:
    """Write one line a slice: its index, position, UID, six probabilities, and whether the exam is uncertain.

    Parameters
    ----------
    findings
        What to write; of a refused input, only the heading is written.
    path
        Of the file; replaced where it exists.

    Returns
    -------
    pathlib.Path
        ``path``.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(CSV_COLUMNS)
        for s in findings.slices:
            values = [getattr(s.probabilities, name) for name in LABEL_NAMES]
            rows.writerow(
                [
                    s.index,
                    "" if s.position_mm is None else f"{s.position_mm:.3f}",
                    s.sop_instance_uid or "",
                    *("" if v is None else f"{v:.6f}" for v in values),
                    "" if findings.uncertain is None else str(findings.uncertain).lower(),
                ]
            )
    return path


def write_mask(findings: Findings, exam: Exam, path: Path) -> Path:
    """Write the regions as NIfTI, aligned with the input.

    Voxels hold the number of their region (``regions`` of the findings, from 1) and 0 elsewhere. For a NIfTI
    input, shape and affine are the input's own.

    Parameters
    ----------
    findings
        Must carry a mask.
    exam
        What they were found on.
    path
        Ends in ``.nii.gz`` or ``.nii``.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    ValueError
        Where the findings have no mask (the input was not assessed).
    """
    if findings.mask is None:
        raise ValueError(f"{path.name}: found findings without a mask; expected those of an assessed exam")
    # Late: nibabel is slow to load, and most reports hold no mask.
    import nibabel
    import numpy as np

    from ichor.reading.nifti import to_nifti_space

    array, affine = to_nifti_space(findings.mask, exam)
    make: Any = nibabel.Nifti1Image  # its calls have no types
    image = make(np.ascontiguousarray(array, dtype=np.uint8), affine)
    image.set_sform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"ichor: suspected hemorrhage, by region"
    nibabel.save(image, path)
    return path
