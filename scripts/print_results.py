"""Print what the bundles measured, as Markdown, into README.md and docs/reference/results.md.

``python scripts/print_results.py`` writes both; ``--check`` only tells whether they are what the bundle says;
``--print`` shows the full table of any bundle (``--bundle NAME|PATH``).
"""

from __future__ import annotations

import argparse
import sys

from sections import table, update

from ichor.detecting.bundle import BundleCard, load_bundle
from ichor.detecting.manifest import Manifest, Measured
from ichor.errors import BundleError

_COMMAND = "python scripts/print_results.py"
OPEN = "open"
"""The bundle that learned from data under open licences alone."""
_SHORT = (
    "exam AUC, any",
    "slice AUC, any",
    "exam sensitivity, any",
    "exam specificity, any",
    "exam calibration error, any",
    "picture AUC, any hemorrhage, rsna-slices",
    "picture AUC, any hemorrhage, head-ct-hemorrhage",
    "picture accuracy, rsna-slices",
    "picture accuracy, head-ct-hemorrhage",
)
"""What the README shows; the reference page shows all."""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where a page is out of date")
    parser.add_argument("--print", action="store_true", dest="show", help="print all figures, write nothing")
    parser.add_argument("--bundle", default="default", help="name or path of the bundle (with --print)")
    options = parser.parse_args()
    try:
        bundle = load_bundle(options.bundle if options.show else "default")
        beside = load_bundle(OPEN)
    except BundleError as error:
        print(error, file=sys.stderr)
        return 2
    if options.show:
        print(measures(list(bundle.manifest.measured)))
        return 0
    return update(pages(bundle.card, bundle.manifest, beside.card), check=options.check, command=_COMMAND)


def pages(card: BundleCard, manifest: Manifest, beside: BundleCard) -> dict[str, dict[str, str]]:
    """Return every printed section that comes from a bundle, or from the one beside it."""
    short = [m for m in card.measured if m.name in _SHORT]
    return {
        "README.md": {
            "results": measures(short) + "\n\n" + _untrusted(card),
            "limits-of-use": "\n".join(f"- {line}" for line in card.limits),
            "trained-on": _trained_on(card),
        },
        "docs/reference/results.md": {
            "results": f"Bundle `{card.name}` {card.version}.\n\n" + measures(list(card.measured)),
            "untrusted": _untrusted(card),
            "open": measures([m for m in beside.measured if m.name in _SHORT]),
            "thresholds": _thresholds(card),
            "calibration": _calibration(manifest),
        },
    }


def measures(rows: list[Measured]) -> str:
    """Return measured figures as a table."""
    return table(
        ["figure", "value", "95 % interval", "n", "protocol"],
        [[m.name, _number(m.value), _interval(m), m.unit or m.n, m.protocol] for m in rows],
    )


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _interval(m: Measured) -> str:
    return "" if m.low is None or m.high is None else f"{m.low:.3f} to {m.high:.3f}"


def _untrusted(card: BundleCard) -> str:
    if not card.untrusted_labels:
        return "Every label had enough patients to be measured."
    reasons = "; ".join(f"{name} ({reason})" for name, reason in card.untrusted_labels.items())
    return f"Subtypes that are not to be trusted: {reasons}."


def _trained_on(card: BundleCard) -> str:
    return table(
        ["data set", "exams", "slices", "licence", "cite", "note"],
        [[d.name, d.exams, d.slices, d.licence, d.citation, d.note] for d in card.trained_on],
    )


def _thresholds(card: BundleCard) -> str:
    heading = ["label", "probability", "sensitivity", "specificity", "chosen for"]
    slices = "A single slice" if card.picture_thresholds else "A single slice, or a picture"
    tables = {"An exam": card.thresholds, slices: card.slice_thresholds}
    if card.picture_thresholds:
        tables["A picture"] = card.picture_thresholds
    return "\n\n".join(
        f"{what}:\n\n"
        + table(
            heading,
            [
                [name, _number(t.probability), _number(t.sensitivity), _number(t.specificity), t.chosen_for]
                for name, t in thresholds.items()
            ],
        )
        for what, thresholds in tables.items()
    )


def _calibration(manifest: Manifest) -> str:
    c = manifest.calibration
    slices = "single slice" if c.picture else "single slice or picture"
    columns = {"slice of an exam": c.slice, "exam": c.exam, slices: c.single_slice}
    if c.picture:
        columns["picture"] = c.picture
    rows: list[list[object]] = []
    for place, label in enumerate(manifest.labels):
        pairs = [scalings[place] for scalings in columns.values()]
        rows.append([label, *(f"{pair.scale:.3f}, {pair.offset:.3f}" for pair in pairs)])
    return table(["label (scale, offset)", *columns], rows)


if __name__ == "__main__":
    sys.exit(main())
