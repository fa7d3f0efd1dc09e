"""Findings said by hand on images, for the tests of what is done with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichor.detecting.bundle import BundleCard
from ichor.exam import AIR_HU, Exam, Geometry, Source
from ichor.findings import (
    Findings,
    FindingsWarning,
    LabelFlags,
    LabelValues,
    Region,
    SliceFindings,
    SubtypeFindings,
)
from ichor.labels import LABEL_NAMES
from ichor.uids import hashed_uid

THRESHOLDS = LabelValues(
    any=0.42, epidural=0.5, intraparenchymal=0.45, intraventricular=0.5, subarachnoid=0.5, subdural=0.4
)


def phantom(
    row: tuple[float, float, float] = (1, 0, 0),
    column: tuple[float, float, float] = (0, 1, 0),
    *,
    spacing: tuple[float, float] = (0.9, 0.9),
    n: int = 12,
    step: float = 5.0,
) -> tuple[Exam, NDArray[np.uint8]]:
    """A head with a bleed at the patient's left front, sampled in any orientation; and the bleed's mask.

    Skull 70 mm x 90 mm about (0, 0); bleed of 12 mm radius about x = +35 (left), y = -40 (front), slices 4 to 6.
    """
    row_direction, column_direction = np.array(row, float), np.array(column, float)
    normal = np.cross(row_direction, column_direction)
    normal = -normal if normal[2] < 0 else normal
    shape = (round(220 / spacing[0]), round(220 / spacing[1]))
    corner = -110 * row_direction - 110 * column_direction
    positions = corner + np.arange(n)[:, None] * step * normal
    geometry = Geometry(
        positions, row_direction, column_direction, spacing, thickness=np.full(n, step, dtype=np.float64)
    )
    s, r, c = np.meshgrid(np.arange(n), np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    points = geometry.voxel_to_patient(np.stack([s, r, c], axis=-1))
    x, y = points[..., 0], points[..., 1]
    head = (x / 70) ** 2 + (y / 90) ** 2
    volume = np.full(head.shape, AIR_HU, np.int16)
    volume[head < 1] = 900
    volume[head < 0.85] = 35
    bleed = (np.hypot(x - 35, y + 40) < 12) & (s >= 4) & (s <= 6)
    volume[bleed] = 70
    uids = tuple(f"1.2.826.0.1.{k}" for k in range(n))
    source = Source(
        "phantom/", "dicom", "1.2.3.4", "1.2.3.5", uids, details={"manufacturer": "Phantoms & Co <x>"}
    )
    return Exam(volume, geometry, source), bleed.astype(np.uint8)


def findings_on(
    exam: Exam,
    mask: NDArray[np.uint8],
    label: str = "intraparenchymal",
    *,
    warnings: tuple[FindingsWarning, ...] = (),
    name: str | None = None,
) -> Findings:
    """Findings that follow from a mask by arithmetic: what a model that knew the mask would say."""
    regions, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    g = exam.geometry
    ml = g.spacing[0] * g.spacing[1] * g.slice_extents / 1000
    area = mask.astype(bool).sum(axis=(1, 2)) * g.spacing[0] * g.spacing[1]
    any_p = 1 - 0.97 * np.exp(-area / 120)
    slices = [
        SliceFindings(
            index=i,
            position_mm=float(g.distances[i]),
            sop_instance_uid=hashed_uid(exam.source.sop_instance_uids[i])
            if exam.source.sop_instance_uids
            else None,
            probabilities=_values(any_p[i], label),
        )
        for i in range(exam.n_slices)
    ]
    found = []
    for k in range(1, count + 1):
        places = np.argwhere(regions == k)
        first, last = places.min(axis=0), places.max(axis=0)
        volume = sum(float(ml[s]) for s in places[:, 0])
        corners = np.stack([g.voxel_to_patient(first), g.voxel_to_patient(last)])
        found.append(
            Region(
                label=label,
                probabilities={label: 0.9, "subdural" if label != "subdural" else "epidural": 0.1},
                volume_ml=volume if g.spacing_known else None,
                slices=sorted(set(places[:, 0].tolist())),
                bbox_mm=[*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()],
                bbox_voxels=[*first.tolist(), *last.tolist()],
            )
        )
    p = _values(any_p.max(), label)
    positive = {name: getattr(p, name) >= getattr(THRESHOLDS, name) for name in LABEL_NAMES}
    return Findings(
        input=name or exam.source.input,
        kind="exam",
        study_uid=hashed_uid(exam.source.study_uid) or None,
        series_uid=hashed_uid(exam.source.series_uid) or None,
        n_slices=exam.n_slices,
        spacing_mm=[g.slice_step, *g.spacing],
        probabilities=p,
        thresholds=THRESHOLDS,
        positive=LabelFlags(**positive),
        subtypes=[
            SubtypeFindings(label=name, likely=positive["any"] and positive[name], trusted=True)
            for name in LABEL_NAMES[1:]
        ],
        slices=slices,
        regions=found,
        volume_ml=sum(r.volume_ml or 0.0 for r in found) if g.spacing_known else None,
        assessable=True,
        warnings=list(warnings),
    ).with_mask(regions.astype(np.uint8))


def refused(name: str = "broken.dcm", code: str = "unreadable") -> Findings:
    """Findings of an input that was refused."""
    message = "Found a file that ends within its pixels; expected a whole one; send it again."
    warning = FindingsWarning(code=code, message=message)
    return Findings(input=name, kind=None, n_slices=0, assessable=False, warnings=[warning])


def card(**changes: object) -> BundleCard:
    """A card with every part filled."""
    threshold = {"sensitivity": 0.93, "specificity": 0.71, "chosen_for": "exam sensitivity of at least 90%"}
    parts: dict[str, object] = {
        "name": "made-up",
        "version": "0.0",
        "sha256": "0" * 64,
        "description": "Made up.",
        "licence": "Apache-2.0",
        "thresholds": {n: {"probability": getattr(THRESHOLDS, n), **threshold} for n in LABEL_NAMES},
        "slice_thresholds": {n: {"probability": 0.3, **threshold, "sensitivity": 0.8} for n in LABEL_NAMES},
        "untrusted_labels": {"epidural": "only 3 patients with this subtype in the measured data"},
        "trained_on": [
            {
                "name": "set",
                "licence": "CC BY",
                "citation": "A & B",
                "exams": 7,
                "slices": 99,
                "note": "children too",
            }
        ],
        "measured": [
            {
                "name": "slice AUC, any",
                "value": 0.9512,
                "low": 0.9,
                "high": None,
                "n": 99,
                "unit": "99 slices, 20 positive, 7 patients",
                "protocol": "five folds by patient",
            },
            {
                "name": "exam AUC",
                "value": None,
                "low": None,
                "high": None,
                "n": 7,
                "unit": "exams",
                "protocol": "p",
            },
        ],
        "limits": ["Children were few <2>."],
        "card_text": "# Card",
    }
    return BundleCard.model_validate({**parts, **changes})


def ct_ich(root: Path, patient: str) -> tuple[Exam, NDArray[np.uint8]]:
    """A real exam of CT-ICH, and the publishers' hand masks where they drew any."""
    from PIL import Image

    from ichor.datasets.ct_ich import CtIch

    exam = CtIch(root / "ct-ich").load(patient).exam
    mask = np.zeros(exam.volume.shape, np.uint8)
    for path in sorted((root / "ct-ich" / "masks" / patient).glob("*.png")):
        with Image.open(path) as image:
            mask[int(path.stem) - 1] = np.asarray(image.convert("L")) > 127
    return exam, mask


def _values(p: float, label: str) -> LabelValues:
    values = {name: 0.02 * float(p) for name in LABEL_NAMES}
    values["any"] = float(p)
    values[label] = 0.95 * float(p)
    return LabelValues(**values)
