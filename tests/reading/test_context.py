"""The context of a reading: its clock, its limits, and whom a refusal names."""

from __future__ import annotations

import time

import pytest

from ichor.errors import RefusedInput
from ichor.reading.context import ReadContext
from ichor.reading.limits import Limits


def test_the_clock_starts_with_the_reading():
    context = ReadContext.begin("x.zip", Limits(seconds=0.05))
    context.check_time()
    time.sleep(0.06)
    with pytest.raises(RefusedInput) as caught:
        context.check_time()
    assert caught.value.source == "x.zip" and "(seconds)" in caught.value.expected


def test_a_limit_is_refused_in_the_name_of_the_input():
    refusal = ReadContext.begin("x.zip", Limits(files=3)).refuse("files", "4 files")
    assert (refusal.source, refusal.code, refusal.found) == ("x.zip", "limit_exceeded", "4 files")
    assert "at most 3 (files)" in refusal.expected


def test_limits_come_from_the_environment_unless_given(monkeypatch):
    monkeypatch.setenv("ICHOR_LIMIT_FILES", "7")
    assert ReadContext.begin("x").limits.files == 7
    assert ReadContext.begin("x", Limits()).limits.files == Limits().files
