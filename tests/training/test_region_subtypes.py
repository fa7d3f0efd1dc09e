"""The model of a region's place and shape: what it is fitted on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra 'train'")

from ichor.datasets.ct_ich import CtIch
from ichor.detecting.region_shape import FEATURES, model_of
from ichor.labels import SUBTYPE_NAMES
from ichor.training.region_subtypes import fit, real_samples, simulated_samples


def test_it_is_fitted_on_drawn_bleeds_and_on_boxes(shared_data: Path) -> None:
    dataset = CtIch(shared_data / "ct-ich")
    labels = dataset.patients()
    without = [patient for patient in sorted(labels) if labels[patient][0] == 0][:4]
    drawn = list(simulated_samples(dataset, without, np.random.default_rng(0)))
    assert set(Counter(s.subtype for s in drawn)) == set(range(len(SUBTYPE_NAMES)))
    real = list(real_samples(dataset, ["077", "094"]))
    assert real and all(s.real for s in real) and not any(s.real for s in drawn)
    names = {SUBTYPE_NAMES[s.subtype] for s in real if s.patient == "077"}
    assert names == {name for name, yes in zip(SUBTYPE_NAMES, labels["077"][1:], strict=True) if yes == 1}
    assert np.isfinite([s.features for s in (*drawn, *real)]).all()
    model = model_of(fit([*drawn, *real]))
    assert model.weights.shape == (len(SUBTYPE_NAMES), len(FEATURES))
    logits = (
        np.array([s.features for s in drawn]) - model.mean
    ) / model.scale @ model.weights.T + model.offsets
    right = np.mean(logits.argmax(axis=1) == [s.subtype for s in drawn])
    assert right > 2 / len(SUBTYPE_NAMES)  # fitted on the same: far above chance, or the features say nothing
