"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the public data; ``ICHOR_DATA``, or ``../shared/data`` beside the checkout."""
    root = Path(os.environ.get("ICHOR_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not root.is_dir():
        pytest.skip("needs ../shared/data (not part of the repository)")
    return root
