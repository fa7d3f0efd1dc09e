"""The most memory of a process is its own, not that of the one that started it."""

import subprocess
import sys

import numpy as np
import pytest

from ichor.memory import peak_memory_mb

CHILD = "from ichor.memory import peak_memory_mb; print(peak_memory_mb())"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems count as they do")
def test_a_child_of_a_large_process_counts_its_own():
    before = peak_memory_mb()
    held = np.ones(60_000_000)
    now = peak_memory_mb()
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert before is not None and now is not None and held.nbytes / 1e6 < now
    assert 5 < float(done.stdout) < 300
