"""The data sets by name. A new one is a module and a line of ``DATASETS``."""

from __future__ import annotations

import difflib
from pathlib import Path
from urllib.parse import parse_qs

from ichor.datasets.aisd import Aisd
from ichor.datasets.bhsd import Bhsd
from ichor.datasets.cq500 import Cq500
from ichor.datasets.ct_ich import CtIch
from ichor.datasets.ct_ich_nifti import CtIchNifti
from ichor.datasets.folder import Folder
from ichor.datasets.head_ct import HeadCt
from ichor.datasets.labelled import Dataset
from ichor.datasets.listing import Listing
from ichor.datasets.phe_sich import PheSich
from ichor.datasets.rsna import Rsna
from ichor.datasets.rsna_slices import RsnaSlices
from ichor.errors import UsageError

__all__ = ["DATASETS", "open_dataset"]

DATASETS: dict[str, tuple[type[Dataset], ...]] = {
    "rsna": (Rsna,),
    "ct-ich": (CtIch, CtIchNifti),
    "cq500": (Cq500,),
    "phe-sich": (PheSich,),
    "head-ct-hemorrhage": (HeadCt,),
    "bhsd": (Bhsd,),
    "rsna-slices": (RsnaSlices,),
    "aisd": (Aisd,),
}
"""Each in the forms in which it may lie on a disk."""


def open_dataset(name: str, data: Path) -> Dataset:
    """Open a data set.

    Parameters
    ----------
    name
        One of ``DATASETS``, which lies in ``data / name``; or ``folder:PATH`` (a folder a class), or
        ``csv:PATH`` (a table).
    data
        Folder with one sub-folder a data set.

    Raises
    ------
    UsageError
        Where the name or the folder is not known, or the folder lacks what the data set must hold.
    """
    kind, colon, where = name.partition(":")
    if colon and kind in ("folder", "csv"):
        path, _, query = where.partition("?")
        if not Path(path).exists():
            raise UsageError(f"data set {name!r}: found nothing at {path}; expected a {kind}; check the path")
        if kind == "csv":
            return Listing(Path(path))
        return Folder(Path(path), *parse_qs(query).get("positive", []))
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(
            f"data set {name!r}: found no such data set; {hint}expected one of {', '.join(DATASETS)}, folder:PATH "
            "or csv:PATH"
        )
    root = Path(data) / name
    missing = {form: form.info.missing(root) for form in DATASETS[name]}
    for form, absent in missing.items():
        if not absent:
            return form(root)
    # Of a form that is there in part; where nothing is, of the last one, which its publisher gives today.
    least = min(reversed(missing.items()), key=lambda m: len(m[1]) - len(m[0].info.expected))[1]
    raise UsageError(
        f"{root}: found no {', no '.join(least)}; expected the data set {name!r} there; "
        f"ichor data get {name} says how to get it; or name the folder above it with --data"
    )
