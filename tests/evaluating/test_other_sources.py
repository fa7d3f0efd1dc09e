"""The table of other sources: written by a measurement, read for the card."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ichor.detecting.bundle import load_bundle
from ichor.errors import UsageError
from ichor.evaluating.kept_tables import write_rows
from ichor.evaluating.other_sources import (
    OTHER_SOURCES_FILE,
    SourceFigure,
    measure_source,
    read_sources,
)

ROW = SourceFigure(
    source="a", figure="slice AUC, any", value=0.8, low=0.7, high=0.9, unit="3 slices", left_out=1
)


def test_what_is_written_is_read(tmp_path):
    assert read_sources(tmp_path) == []
    write_rows(tmp_path / OTHER_SOURCES_FILE, [ROW, ROW])
    assert read_sources(tmp_path) == [ROW, ROW]


@pytest.mark.parametrize("text", ["{", "3", '[{"source": "a"}]'])
def test_another_file_is_refused_by_name(tmp_path, text):
    path = tmp_path / OTHER_SOURCES_FILE
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UsageError, match=r"sources\.json: found no table of other sources .* measure again"):
        read_sources(tmp_path)


def test_a_source_that_it_learned_from_is_refused():
    seen: Any = SimpleNamespace(name="ct-ich")
    with pytest.raises(UsageError, match=r"bundle open: found that it learned from ct-ich"):
        measure_source("open", seen)
    with pytest.raises(UsageError, match=r"bundle default\+open: found several; expected one"):
        measure_source("default+open", seen)


def test_the_card_of_the_open_bundle_says_what_a_new_hospital_may_expect():
    card = load_bundle("open").card
    assert "## On sources that it never saw" in card.card_text
    for source in ("rsna-slices", "head-ct-hemorrhage", "phe-sich", "aisd"):
        assert f"| {source} | " in card.card_text
    assert any("other sources" in limit for limit in card.limits)
