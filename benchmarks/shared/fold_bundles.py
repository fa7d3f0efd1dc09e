"""A bundle for each fold of a run: exams are detected by the network that did not train on their patient."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from ichor.training.release import part_graphs, release
from ichor.training.run_data import RunData
from ichor.training.run_folder import RunFolder

__all__ = ["fold_bundle", "open_run"]


def open_run(folder: Path, data: Path) -> RunData:
    """Open a finished run, whose weights are there."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    return RunData(RunFolder.open(folder), data)


def fold_bundle(run: RunData, fold: int, cache: Path) -> Path:
    """Export a fold's network, unless the cache holds it.

    Parameters
    ----------
    run
        Finished, with its weights.
    fold
        Its number.
    cache
        Folder of the bundles. Calibration and thresholds are those of all folds, fitted once.
    """
    home, first = cache / f"fold-{fold}", cache / "fold-0"
    if (home / "bundle.json").is_file():
        return home
    if home == first:
        return release(run, home, "fold-0")
    manifest = json.loads((fold_bundle(run, 0, cache) / "bundle.json").read_text())
    home.mkdir(exist_ok=True)
    graphs, _ = part_graphs(run, f"fold-{fold}", home)
    for graph in graphs:
        content = (home / graph.file).read_bytes()
        manifest["graphs"][graph.name]["sha256"] = hashlib.sha256(content).hexdigest()
    (home / "card.md").write_text(f"The network of fold {fold}, for measurements.\n")
    (home / "bundle.json").write_text(json.dumps(manifest))
    return home
