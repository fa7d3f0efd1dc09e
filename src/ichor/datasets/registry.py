"""The data sets by name. A new one is a module and a line here."""

from __future__ import annotations

from pathlib import Path

from ichor.datasets.ct_ich import CtIch
from ichor.datasets.head_ct import HeadCt
from ichor.datasets.labelled import Dataset
from ichor.datasets.phe_sich import PheSich
from ichor.errors import UsageError

__all__ = ["DATASETS", "open_dataset"]

DATASETS: dict[str, type[Dataset]] = {kind.name: kind for kind in (CtIch, PheSich, HeadCt)}


def open_dataset(name: str, data: Path) -> Dataset:
    """Open a data set that lies in ``data / name``.

    Raises
    ------
    UsageError
        Where the name or the folder is not known, or the folder lacks ``slices.csv``.
    """
    if name not in DATASETS:
        raise UsageError(f"data set {name!r}: found no such data set; expected one of {', '.join(DATASETS)}")
    root = Path(data) / name
    missing = DATASETS[name].info.missing(root)
    if missing:
        raise UsageError(
            f"{root}: found no {missing[0]}; expected the data set {name!r} there; "
            "put it there, or name the folder above it with --data (docs/how-to/get-the-data.md)"
        )
    return DATASETS[name](root)
