"""Kaggle's file for RSNA 2019: every image of the sample file in its order, six rows each, clipped as asked."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.rsna_index import read_submission_ids
from ichor.errors import UsageError
from ichor.labels import LABEL_NAMES

__all__ = ["CLIP", "KAGGLE_ORDER", "read_probabilities", "write_submission"]

CLIP = 1e-15
"""As Kaggle and Ko et al. clip."""
KAGGLE_ORDER = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
_MOST_NAMED = 3


def read_probabilities(paths: Iterable[Path]) -> dict[str, NDArray[np.float64]]:
    """Read predictions of images: ``(6,)`` probabilities in label order by image.

    Parameters
    ----------
    paths
        CSV with a column ``id`` (or ``image``, ``sop_instance_uid``) and a probability for each of the six
        labels; or JSON lines of findings with original UIDs (``ichor detect --json --original-uids``), whose
        slices are images.

    Raises
    ------
    UsageError
        Naming file and line: where an image comes twice, lacks a label, or has a value outside 0..1.
    """
    found: dict[str, NDArray[np.float64]] = {}
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            why = "no such file" if isinstance(error, FileNotFoundError) else f"{type(error).__name__}"
            raise UsageError(
                f"{path}: found no text that can be read ({why}); expected a CSV or JSON lines; check the path"
            ) from None
        rows = _from_findings(path, text) if text.lstrip().startswith("{") else _from_table(path, text)
        for line, image, values in rows:
            if image in found:
                raise UsageError(f"{path}, line {line}: found image {image} again; expected each once")
            if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()):
                raise UsageError(
                    f"{path}, line {line}: found {values.tolist()}; expected probabilities, 0 to 1"
                )
            found[image] = values
    if not found:
        raise UsageError("submission: found no probabilities; expected a row an image")
    return found


def write_submission(
    probabilities: Mapping[str, NDArray[np.float64]], sample: Path, target: Path, clip: float = CLIP
) -> int:
    """Write the file that Kaggle takes, and return its number of images.

    Parameters
    ----------
    probabilities
        ``(6,)`` in label order by image.
    sample
        Kaggle's sample submission: which images, in which order.
    target
        CSV to write; nothing is written where anything is amiss.
    clip
        Probabilities are kept this far from 0 and 1.

    Raises
    ------
    UsageError
        Where an image of the sample is missing, or one is not in it.
    """
    if not 0 <= clip < 0.5:
        raise UsageError(f"clip: found {clip}; expected 0 or more, under 0.5")
    images = read_submission_ids(sample)
    if missing := [image for image in images if image not in probabilities]:
        raise UsageError(
            f"{sample}: found {len(missing)} of {len(images)} images without a probability "
            f"({', '.join(missing[:_MOST_NAMED])}); expected one each; predict them too"
        )
    if strangers := sorted(set(probabilities) - set(images)):
        raise UsageError(
            f"{sample}: found probabilities for {len(strangers)} images that it does not have "
            f"({', '.join(strangers[:_MOST_NAMED])}); expected only its own"
        )
    places = [LABEL_NAMES.index(name) for name in KAGGLE_ORDER]
    temporary = target.with_name(target.name + ".new")
    with temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ID", "Label"])
        for image in images:
            values = np.clip(probabilities[image], clip, 1 - clip)
            writer.writerows(
                [f"{image}_{name}", repr(float(values[place]))]
                for name, place in zip(KAGGLE_ORDER, places, strict=True)
            )
    temporary.rename(target)
    return len(images)


def _from_table(path: Path, text: str) -> Iterable[tuple[int, str, NDArray[np.float64]]]:
    reader = csv.DictReader(text.splitlines())
    columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    key = next((columns[name] for name in ("id", "image", "sop_instance_uid") if name in columns), None)
    lacking = [name for name in LABEL_NAMES if name not in columns]
    if key is None or lacking:
        raise UsageError(
            f"{path}: found the columns {', '.join(columns) or 'none'}; expected id and {', '.join(LABEL_NAMES)}"
        )
    for line, row in enumerate(reader, start=2):
        try:
            yield line, row[key].strip(), np.array([float(row[columns[name]]) for name in LABEL_NAMES])
        except (TypeError, ValueError):
            raise UsageError(f"{path}, line {line}: found text; expected probabilities") from None


def _from_findings(path: Path, text: str) -> Iterable[tuple[int, str, NDArray[np.float64]]]:
    for line, one in enumerate(text.splitlines(), start=1):
        if not one.strip():
            continue
        try:
            slices = json.loads(one)["slices"]
            rows = [
                (s["sop_instance_uid"], [s["probabilities"][name] for name in LABEL_NAMES]) for s in slices
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path}, line {line}: found no findings ({type(error).__name__}); expected what "
                "ichor detect --json prints, one object a line"
            ) from None
        for uid, values in rows:
            if not uid:
                raise UsageError(
                    f"{path}, line {line}: found a slice without a UID; expected --original-uids"
                )
            yield line, uid, np.array(values, np.float64)
