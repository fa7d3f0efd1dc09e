"""Folds by patient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["patient_folds"]


def patient_folds(patients: dict[str, NDArray[np.float32]], n_folds: int, seed: int) -> dict[str, int]:
    """Deal patients to folds so that each fold gets its share of every label, the rarest first.

    Parameters
    ----------
    patients
        ``(6,)`` exam labels by patient.
    n_folds
        How many folds.
    seed
        Shuffles patients of the same labels.

    Returns
    -------
    dict
        Fold number by patient; the same for the same patients and seed.
    """
    names = sorted(patients)
    labels = np.nan_to_num(np.stack([patients[n] for n in names]))
    counts = labels.sum(axis=0)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    rarest = [
        min((counts[j], j) for j in np.flatnonzero(row)) if row.any() else (np.inf, 6) for row in labels
    ]
    order = sorted(shuffled, key=lambda i: rarest[i])
    return {names[i]: place % n_folds for place, i in enumerate(order)}
