"""A card takes what was measured after its release, and nothing else of it changes."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs the extra 'train'")

from ichor.detecting.bundle import load_bundle
from ichor.errors import UsageError
from ichor.evaluating.kept_tables import write_rows
from ichor.evaluating.left_out import LEFT_OUT_FILE, LeftOutFigure
from ichor.evaluating.robustness import ROBUSTNESS_FILE, RobustnessRow, write_robustness
from ichor.training.card import remeasured_card


def test_a_card_takes_what_was_measured_later(tmp_path):
    bundle = load_bundle("fast")
    before = bundle.card_text
    heading = "## Each source left out of training in turn\n"
    figure = LeftOutFigure(
        source="a",
        figure="slice AUC, any hemorrhage",
        value=0.8,
        low=0.7,
        high=0.9,
        unit="3 slices",
        epochs=7,
    )
    beside = figure.model_copy(update={"source": "b", "trained": 0.95, "change": (-0.15, -0.2, 0.01)})
    write_rows(tmp_path / LEFT_OUT_FILE, [figure, beside])
    change = RobustnessRow(
        change="upside down",
        how="rows reversed",
        n=66,
        positive=28,
        refused=1,
        exam_auc=0.9,
        exam_change=(-0.01, -0.02, 0.0),
        slice_auc=0.95,
        slice_change=(0.0, -0.01, 0.01),
        moved=0.02,
        flipped=3,
        noise=1.0,
    )
    write_robustness(tmp_path / ROBUSTNESS_FILE, [change.model_copy(update={"change": "as it is"}), change])

    limits, after = remeasured_card(bundle.manifest, before, tmp_path, 44)

    assert "all sets but this one, for 7 epochs" in after and "for 44 epochs" in after
    assert "| a | slice AUC, any hemorrhage | 0.800 | 0.700 to 0.900 | 3 slices |  |  |" in after
    assert "| 0.950 | -0.150 (-0.200 to +0.010) |" in after
    assert "| upside down | rows reversed | 0.900 | -0.010 (-0.020 to +0.000) |" in after
    # What lies before and after is as it was, and without the tables so is all of it.
    assert (
        after.split(heading)[0].split("## Trained on\n")[1]
        == (before.split(heading)[0].split("## Robustness\n")[0].split("## Trained on\n")[1])
    )
    assert after.split("## Subgroups\n")[1] == before.split("## Subgroups\n")[1]
    manifest = bundle.manifest.model_copy(update={"limits": limits})
    assert remeasured_card(manifest, after, tmp_path, 44) == (limits, after)
    assert [a for a, b in zip(limits, bundle.manifest.limits, strict=True) if a != b] in (
        [],
        [next(limit for limit in limits if "measure it on exams of your own" in limit)],
    )
    assert all(f"- {limit}\n" in after for limit in limits)


def test_a_card_of_another_kind_is_refused(tmp_path):
    bundle = load_bundle("fast")
    with pytest.raises(UsageError, match=r"bundle fast, card\.md: found no section '## Robustness'"):
        remeasured_card(bundle.manifest, "# Another model\n", tmp_path, 44)
