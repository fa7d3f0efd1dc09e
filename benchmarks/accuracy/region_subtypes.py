"""Whether a region's subtype is told better by its place and shape than by the network's maps.

Usage: python -m benchmarks.accuracy.region_subtypes RUN [--data DIR] [--cache DIR] [--reach MM] [--write]

RUN is a finished run of a map model on ct-ich, with its weights: its folds' networks outline exams that they did not
see. Regions that lie in boxes of a known subtype are told by the maps, and by a model of place and shape that was
fitted without their patient, on simulated bleeds alone and with the boxes of the other patients. ``--write`` fits it
on all patients and writes ``src/ichor/detecting/region_subtypes.json``, which ships.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.locating import REACH, RULE, Located, Networks, region_truths
from benchmarks.shared.arguments import ROOT, parser
from benchmarks.shared.tables import heading
from benchmarks.shared.tables import row as print_row
from ichor.datasets.ct_ich import CtIch
from ichor.detecting import region_shape
from ichor.detecting.region_shape import SlicePart, shape_probabilities
from ichor.labels import SUBTYPE_NAMES
from ichor.preparing.skull import bone_hu, intracranial
from ichor.training.region_subtypes import Sample, fit, real_samples, simulated_samples
from ichor.training.run_folder import RunFolder

_FILE = ROOT / "src/ichor/detecting/region_subtypes.json"
_PROVENANCE = {
    "about": "Multinomial logistic regression of a region's place and shape: ichor.detecting.region_shape.",
    "command": "python -m benchmarks.accuracy.region_subtypes RUN --write",
    "learned_from": "simulated bleeds in, and boxes of, CT-ICH (Hssayeni et al., Data 2020, 5(1):14; CC BY 4.0)",
}
Floats = NDArray[np.float64]


def main() -> None:
    """Run the command."""
    arguments = parser(__doc__)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--cache", type=Path, help="where maps are kept")
    arguments.add_argument("--write", action="store_true", help="write the model that ships")
    arguments.add_argument("--reach", type=float, default=RULE.reach_mm, metavar="MM", help=REACH)
    options = arguments.parse_args()
    dataset = CtIch(options.data / "ct-ich")
    labels = dataset.patients()
    without = [patient for patient in sorted(labels) if labels[patient][0] == 0]
    bleeding = [patient for patient in sorted(labels) if labels[patient][0] == 1]
    simulated = list(simulated_samples(dataset, without, np.random.default_rng(0)))
    real = list(real_samples(dataset, bleeding))
    print(f"{len(simulated):,} simulated bleeds on slices of {len(without)} patients, {len(real)} boxes of "
          f"{len({s.patient for s in real})} patients.\n")  # fmt: skip
    if options.write:
        _FILE.write_text(json.dumps(_PROVENANCE | fit([*simulated, *real]), indent=1) + "\n")
    with tempfile.TemporaryDirectory() as temporary:
        rule = RULE.model_copy(update={"reach_mm": options.reach})
        folder = RunFolder.open(options.run)
        networks = Networks(options.run, folder.recipe, options.cache or Path(temporary), rule)
        folds = json.loads(folder.split.read_text())["folds"]
        compare(networks, folds, dataset, bleeding, (simulated, real))


def compare(
    networks: Networks,
    folds: Mapping[str, int],
    dataset: CtIch,
    patients: Sequence[str],
    samples: tuple[list[Sample], list[Sample]],
) -> None:
    """Print how often each way names regions rightly, and the log loss of its probabilities."""
    simulated, real = samples
    truths: list[int] = []
    ways: dict[str, list[Floats]] = {"maps": [], "shape, simulated alone": [], "shape, boxes too": []}
    for patient in patients:
        exam = dataset.load(patient)
        located = Located.of(exam, networks.maps(f"fold-{folds[patient]}", dataset, exam), networks)
        found = list(region_truths(dataset, patient, located.regions))
        if not found:
            continue
        models = fit(simulated), fit([*simulated, *(s for s in real if s.patient != patient)])
        for number, by_maps, truth in found:
            truths.append(SUBTYPE_NAMES.index(truth))
            ways["maps"].append(np.array([by_maps[name] for name in SUBTYPE_NAMES]))
            parts = parts_of(located, number)
            for way, model in zip(list(ways)[1:], models, strict=True):
                ways[way].append(shape_probabilities(parts, region_shape.model_of(model)))
    heading("told by", "regions", "right", "log loss", "mean probability of the first")
    for way, probabilities in ways.items():
        p = np.array(probabilities)
        own = np.clip(p[np.arange(len(p)), truths], 1e-3, 1)
        right = float(np.mean(p.argmax(axis=1) == truths))
        print_row(way, len(p), f"{right:.3f}", f"{-np.log(own).mean():.2f}", f"{p.max(axis=1).mean():.2f}")


def parts_of(located: Located, number: int) -> list[SlicePart]:
    """Return a region slice by slice."""
    exam, mask = located.exam.exam, located.regions.mask
    bone = bone_hu(exam.volume)
    spacing: Any = exam.geometry.spacing
    touched = np.flatnonzero((mask == number).any(axis=(1, 2)))
    return [
        SlicePart(mask[k] == number, intracranial(exam.volume[k], bone), exam.volume[k], tuple(spacing))
        for k in touched
    ]


if __name__ == "__main__":
    main()
