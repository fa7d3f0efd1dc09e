"""Pictures of very many pixels, in a part of the memory."""

from __future__ import annotations

import numpy as np
from PIL import Image

import ichor

from ..test_inputs import slice_picture


def test_a_very_large_picture_is_taken_in_fewer_pixels(tmp_path):
    """As good as it was, in a part of the memory; its box is in the file's own pixels."""
    small = np.asarray(Image.open(slice_picture(tmp_path / "small.png")).convert("L"))
    factor = 5000 // min(small.shape)
    large = np.kron(small, np.ones((factor, factor), np.uint8))
    Image.fromarray(large).save(tmp_path / "large.png")
    a, b = ichor.read(tmp_path / "small.png"), ichor.read(tmp_path / "large.png")
    assert b.file_shape == large.shape and max(b.grey.shape) <= 4096
    assert np.allclose(np.array(a.box) * factor, b.box, atol=4 * factor)
    row, column, rows, columns = b.box
    assert row + rows <= large.shape[0] and column + columns <= large.shape[1]
