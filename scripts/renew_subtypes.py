"""Choose the thresholds of subtypes of a bundle again, from its run's kept out-of-fold predictions.

``python scripts/renew_subtypes.py RUN BUNDLE --data DATA`` writes ``bundle.json`` and the section on thresholds of
``card.md``, by the functions that a release uses; nothing else of the bundle changes. For bundles that were released
before subtypes had operating points: a new release holds them.

``--of NAME`` says that the predictions are those of another model that the bundle was made from (the fp32 model of one
with 8 bits); without it they must give the bundle's own calibration.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from ichor.datasets.registry import open_dataset
from ichor.detecting.bundle import load_bundle
from ichor.detecting.manifest import Manifest, Scaling
from ichor.errors import IchorError, UsageError
from ichor.evaluating.calibration import fit_calibration
from ichor.evaluating.predictions import OutOfFold, dataset_of, read_predictions
from ichor.labels import SUBTYPE_NAMES
from ichor.training.card import renewed_card
from ichor.training.describing import exam_thresholds
from ichor.training.reliability import subtype_points

_ROUNDING = 1e-5


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path, help="folder with the predictions of each fold")
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--data", type=Path, required=True, help="folder with one sub-folder a data set")
    parser.add_argument("--of", metavar="NAME", default="", help="the model that the predictions are of")
    options = parser.parse_args()
    try:
        bundle = load_bundle(options.bundle)
        oof = read_predictions(options.run, open_dataset(dataset_of(options.run), options.data))
        if not options.of:
            _same_calibration(oof, bundle.manifest)
        manifest = renewed(bundle.manifest, oof, options.of)
        card = renewed_card(bundle.card_text, manifest)
        _write(manifest, options.bundle / "bundle.json")
        (options.bundle / "card.md").write_text(card, encoding="utf-8")
        load_bundle(options.bundle)
    except IchorError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def renewed(manifest: Manifest, oof: OutOfFold, of: str = "") -> Manifest:
    """Return the manifest with the thresholds of subtypes of exams, and what they gave across folds."""
    chosen = exam_thresholds(oof, manifest.calibration.exam)
    if of:
        note = f", as {of} predicted them"
        chosen = {
            name: t.model_copy(update={"chosen_for": t.chosen_for + note}) for name, t in chosen.items()
        }
    thresholds = manifest.thresholds | {name: chosen[name] for name in SUBTYPE_NAMES}
    points = manifest.operating_points.model_copy(update={"subtypes": subtype_points(oof, thresholds)})
    return manifest.model_copy(update={"thresholds": thresholds, "operating_points": points})


def _write(manifest: Manifest, path: Path) -> None:
    """Put the thresholds and points of subtypes into a file; all else in it stays as it is, to the letter."""
    content = json.loads(path.read_text(encoding="utf-8"))
    new = manifest.model_dump(mode="json", by_alias=True)
    content["thresholds"] |= {name: new["thresholds"][name] for name in SUBTYPE_NAMES}
    content["operating_points"]["subtypes"] = new["operating_points"]["subtypes"]
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _same_calibration(oof: OutOfFold, manifest: Manifest) -> None:
    """Refuse predictions of another model: their thresholds would be of other probabilities."""
    fitted = fit_calibration(oof.exam_logits, oof.exam_labels, oof.exam_folds)
    if not np.allclose(_numbers(fitted), _numbers(manifest.calibration.exam), atol=_ROUNDING):
        raise UsageError(
            f"{manifest.name}: found another calibration of exams than these predictions give; expected those of the "
            "model itself; name its run, or say with --of which model they are of"
        )


def _numbers(scalings: tuple[Scaling, ...]) -> list[tuple[float, float]]:
    return [(s.scale, s.offset) for s in scalings]


if __name__ == "__main__":
    sys.exit(main())
