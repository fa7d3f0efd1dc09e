"""The shipped bundles say of every public exam what they said before: to 1e-6, exam and slices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from detecting.reference import FILE, KINDS, compute

CHANGED: dict[str, str] = {}
"""Keys of results that a mended fault changed, with the fault; what they give now is in the file."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_public_exam_has_the_probabilities_it_had(kind: str, shared_data: Path) -> None:
    expected = json.loads(FILE.read_text())[kind]
    found = dict(compute(kind, shared_data))
    assert list(found) == list(expected)
    for key, before in expected.items():
        now = found[key]
        assert now.keys() == before.keys(), key
        if "exam" in before:
            np.testing.assert_allclose(now["exam"], before["exam"], rtol=0, atol=1e-6, err_msg=key)
            np.testing.assert_allclose(now["slices"], before["slices"], rtol=0, atol=1e-6, err_msg=key)
            assert now["volume_ml"] == pytest.approx(before["volume_ml"], abs=1e-6), key
            assert now["regions"] == before["regions"], key
