"""Results of detection picture by picture, kept in a file: a stopped run goes on, a second one detects nothing."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import ichor
from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.detecting.detector import Detector
from ichor.errors import UsageError
from ichor.findings import Findings
from ichor.labels import LABEL_NAMES

__all__ = [
    "COLUMNS",
    "Result",
    "detected",
    "in_random_order",
    "out_of_fold",
    "read_results",
    "result_of",
    "results_folder",
]

COLUMNS = ("picture", "refused", "called", *LABEL_NAMES)
SEVERAL = "several_pictures"
"""Where one slice was taken for a sheet of several."""


@dataclass(frozen=True)
class Result:
    """What was found in one picture.

    Attributes
    ----------
    refused
        Code of the refusal; empty where the picture was assessed.
    called
        Whether a hemorrhage was called at the shipped threshold.
    probabilities
        ``(6,)``; NaN where refused, or where a label has none.
    """

    refused: str
    called: bool
    probabilities: NDArray[np.float64]


def in_random_order(dataset: Dataset) -> list[str]:
    """Return the pictures in an order that is random and always the same: any first part of it is a sample.

    A hash of the names would not do: the first eighth by SHA-256 of rsna-slices has a fifth of the hemorrhages that it
    should have.
    """
    names = sorted(dataset.patients())
    return [names[k] for k in np.random.default_rng(0).permutation(len(names))]


def results_folder(bundle: str) -> Path:
    """Return where results of this model and this code are kept."""
    digest = hashlib.sha256(Detector(bundle).bundle.sha256.encode())
    package = Path(ichor.__file__).parent
    for room in ("detecting", "preparing", "reading"):
        for path in sorted(p for p in (package / room).rglob("*") if p.suffix in (".py", ".json", ".onnx")):
            digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ichor" / "single-slices" / digest.hexdigest()[:12]


def detected(path_of: Callable[[str], Path], names: list[str], path: Path, bundle: str) -> dict[str, Result]:
    """Detect in each picture that a file of results does not hold yet, and return all that it then holds."""
    found = read_results(path) if path.is_file() else {}
    todo = [name for name in names if name not in found]
    if not todo:
        return found
    detector = Detector(bundle)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        if not found:
            table.writerow(COLUMNS)
        for name in todo:
            result = result_of([d.findings for d in detector.detect_all(path_of(name))])
            values = ["" if np.isnan(p) else f"{p:.4f}" for p in result.probabilities]
            table.writerow([name, result.refused, int(result.called), *values])
            file.flush()
            found[name] = result
    return found


def out_of_fold(run: Path, data: Path) -> dict[str, dict[str, Result]]:
    """Return the results of a run's pictures by set: each by a network, a calibration and a threshold without it.

    A refused picture is of the code ``refused``: a run keeps no reasons. Needs the extra ``train``.
    """
    from ichor.evaluating.calibration import crossfit
    from ichor.training.picture_calibration import called_pictures, read_pictures
    from ichor.training.run_data import RunData
    from ichor.training.run_folder import RunFolder

    of_run = RunData(RunFolder.open(run), data)
    pictures = read_pictures(of_run)
    if pictures is None:
        raise UsageError(
            f"{run}: found no predictions of pictures; expected a run whose recipe names sets of them"
        )
    one = pictures.predictions
    nothing = Result("refused", False, np.full(len(LABEL_NAMES), np.nan))
    names = sorted(set(pictures.sources.tolist()))
    found: dict[str, dict[str, Result]] = {
        name: dict.fromkeys(open_dataset(name, data).patients(), nothing) for name in names
    }
    probabilities, called = crossfit(one.logits, one.labels, one.folds), called_pictures(pictures)
    for full, source, p, call in zip(one.patients, pictures.sources, probabilities, called, strict=True):
        found[str(source)][str(full).removeprefix(f"{source}/")] = Result("", bool(call), p)
    return found


def result_of(findings: list[Findings]) -> Result:
    """Return the result of one picture; where it was taken for several, it counts as refused."""
    nothing = np.full(len(LABEL_NAMES), np.nan)
    if len(findings) != 1:
        return Result(SEVERAL, False, nothing)
    (one,) = findings
    if not one.assessable:
        return Result(one.warnings[-1].code, False, nothing)
    return Result("", bool(one.positive.any), one.probabilities.as_array())


def read_results(path: Path) -> dict[str, Result]:
    """Read a file of results.

    Raises
    ------
    UsageError
        Where it is none, or a row of it is torn.
    """
    if not path.is_file():
        raise UsageError(f"{path}: found no results; expected those of an earlier run; check the folder")
    found = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line, values in enumerate(csv.DictReader(file), start=2):
            try:
                numbers = [values[label] if values[label] != "" else "nan" for label in LABEL_NAMES]
                probabilities = np.array([float(number) for number in numbers])
                found[values["picture"]] = Result(values["refused"], values["called"] == "1", probabilities)
            except (KeyError, TypeError, ValueError):
                raise UsageError(
                    f"{path}, line {line}: found no result; expected {', '.join(COLUMNS)}; remove the line"
                ) from None
    return found
