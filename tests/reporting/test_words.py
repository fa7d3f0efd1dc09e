"""What is said in words."""

from __future__ import annotations

import pytest

from ichor.findings import Findings, FindingsWarning, Region, SubtypeFindings
from ichor.reporting.choice import reported_slices, suspicious_slices
from ichor.reporting.words import (
    likely_subtypes,
    limit,
    nothing_outlined,
    number_ranges,
    printable,
    probability,
    region_colour,
    region_subtype,
    subtype_words,
    threshold_origin,
    verdict,
    volume,
)

from .cases import card, findings_on, phantom, refused


@pytest.mark.parametrize(
    ("value", "against", "text"),
    [
        (0.8731, 0.42, "0.87"),
        (0.4199, 0.4201, "0.4199"),
        (0.4216, 0.42, "0.422"),
        (0.42, 0.42, "0.42"),
        (0.0001, None, "<0.01"),
        (0.99991, None, ">0.99"),
        (0.995, None, "0.99"),
        (None, None, "-"),
    ],
)
def test_probabilities(value, against, text) -> None:
    assert probability(value, against=against) == text


def test_a_threshold_is_a_number_also_at_the_edge() -> None:
    assert [limit(0.9997, 0.2), limit(0.27, 0.2), limit(0.0002, 0.9)] == ["0.9997", "0.27", "0.0002"]


def test_why_nothing_is_outlined() -> None:
    exam, mask = phantom()
    assert nothing_outlined(findings_on(exam, mask)) == ""
    bare = findings_on(exam, mask).replace(regions=[])
    assert nothing_outlined(bare) == "Nothing is outlined."
    said = FindingsWarning(code="nothing_outlined", message="Nothing is outlined: it is too small.")
    assert nothing_outlined(bare.replace(warnings=[said])) == said.message
    whether = FindingsWarning(code="model_does_not_locate", message="The model m says whether, not where.")
    assert nothing_outlined(bare.replace(warnings=[whether])).startswith(
        "The model m says whether, not where. It draws"
    )


def test_ranges_count_from_one() -> None:
    assert number_ranges([5, 3, 4, 9]) == "4-6, 10"
    assert number_ranges([]) == ""


@pytest.mark.parametrize(
    ("ml", "text"), [(None, "-"), (0.0, "0.0 mL"), (0.02, "under 0.1 mL"), (23.44, "23.4 mL")]
)
def test_volumes(ml, text) -> None:
    assert volume(ml) == text


def test_verdicts() -> None:
    exam, mask = phantom()
    positive = verdict(findings_on(exam, mask))
    assert positive.kind == "positive"
    assert "0.98" in positive.sentence
    assert "0.42" in positive.sentence
    negative = verdict(findings_on(exam, 0 * mask))
    assert negative.kind == "negative"
    assert "does not rule" in negative.sentence
    refusal = verdict(refused())
    assert refusal.kind == "refused"
    assert "ends within its pixels" in refusal.sentence


def test_a_lone_slice_is_judged_by_the_thresholds_for_slices() -> None:
    exam, mask = phantom()
    findings = findings_on(exam, mask)
    assert "sensitivity 93%" in threshold_origin(findings, card())
    assert threshold_origin(findings, None) == ""
    lone = findings.model_copy(
        update={"n_slices": 1, "thresholds": findings.thresholds.model_copy(update={"any": 0.3})}
    )
    assert "sensitivity 80%" in threshold_origin(lone, card())


def test_a_refused_input_gives_the_refusal_not_the_remarks() -> None:
    remark = FindingsWarning(code="lossy_compression", message="Lossy.")
    reason = FindingsWarning(code="not_a_head", message="Not a head.")
    findings = Findings(input="x", kind="exam", n_slices=3, assessable=False, warnings=[remark, reason])
    assert verdict(findings).sentence == "Not a head."


def test_likely_subtypes_most_probable_first_and_untrusted_ones_marked() -> None:
    exam, mask = phantom()
    findings = findings_on(exam, mask, "subdural")
    subtypes = [
        SubtypeFindings(label="epidural", likely=True, trusted=True),
        SubtypeFindings(label="intraparenchymal", likely=False, trusted=True),
        SubtypeFindings(label="subdural", likely=True, trusted=False, reason="only 3 patients"),
    ]
    named = findings.replace(subtypes=subtypes)
    assert [one.label.name for one in likely_subtypes(named)] == ["subdural", "epidural"]
    assert subtype_words(named) == "subdural 0.93 (not to be relied on), epidural 0.02"
    assert subtype_words(findings.replace(subtypes=subtypes[1:2])) == "type not determined"


def test_control_characters_never_reach_a_terminal() -> None:
    assert printable("a\nb\x1b[31mé\u202e") == "a\\nb\\x1b[31mé\\u202e"


def test_slices_to_look_at() -> None:
    exam, mask = phantom()
    findings = findings_on(exam, mask)
    assert suspicious_slices(findings) == [4, 5, 6]
    # 5 mm apart: neighbours only to make three.
    assert reported_slices(findings) == [4, 6, 5]
    thin, thin_mask = phantom(step=0.5)
    far = reported_slices(findings_on(thin, thin_mask))
    assert far[0] in (4, 5, 6)
    assert len(far) == 3
    assert len(reported_slices(findings_on(exam, 0 * mask))) == 3
    assert suspicious_slices(findings_on(exam, 0 * mask)) == []
    assert reported_slices(refused()) == []


def test_the_largest_region_is_always_seen() -> None:
    exam, mask = phantom(n=40)
    findings = findings_on(exam, mask)
    # A model that is most suspicious far from where its region lies.
    slices = [
        s.model_copy(
            update={"probabilities": s.probabilities.model_copy(update={"any": 0.9 if s.index > 20 else 0.5})}
        )
        for s in findings.slices
    ]
    moved = findings.model_copy(update={"slices": slices}).with_mask(findings.mask)
    assert set(reported_slices(moved)) & {4, 5, 6}
    assert len(reported_slices(moved)) == 4


def test_a_region_is_named_only_where_that_is_probable() -> None:
    sure = Region(
        label="subdural",
        probabilities={"epidural": 0.05, "subdural": 0.86, "subarachnoid": 0.09},
        volume_ml=1.0,
        slices=[3],
        bbox_mm=None,
        bbox_voxels=[3, 0, 0, 3, 9, 9],
    )
    assert region_subtype(sure) == "Subdural (SDH) 0.86"
    unsure = sure.model_copy(
        update={"probabilities": {"epidural": 0.4, "subdural": 0.45, "subarachnoid": 0.15}}
    )
    assert region_subtype(sure, {"subdural"}) == "Subdural (SDH) 0.86, not to be relied on"
    assert region_subtype(unsure) == "Type not determined"
    of_picture = sure.model_copy(update={"label": "any", "probabilities": {}})
    assert region_subtype(of_picture) == "Type not determined"
    assert region_colour(of_picture) == region_colour(unsure) != region_colour(sure)
