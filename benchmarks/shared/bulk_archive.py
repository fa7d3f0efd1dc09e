"""An archive of real exams as sites have them: folders, zips, a study in two folders, and what is none."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pydicom.uid import generate_uid

from benchmarks.shared.arguments import ROOT
from benchmarks.shared.series import write_series
from ichor.cli.demo import demo_exam
from ichor.datasets.ct_ich import CtIch

sys.path.insert(0, str(ROOT / "tests"))
from reading.test_decoder_faults import slice_of
from reading.test_isolation import TRAP

__all__ = ["ODD", "make_archive", "make_trap"]

ODD = ("broken", "demo.zip", "mr", "poison", "two", "thin")
"""Studies that are not like the others, by name."""
_ZIPPED = 6
"""Every so many-th of the others is a zip."""
_POISON = "x.trap.unchecked.dcm"


def make_archive(root: Path, data: Path, studies: int, slices: int) -> list[list[Path]]:
    """Write an archive.

    Parameters
    ----------
    root
        Made here.
    data
        Folder of the public data sets.
    studies
        How many in all, with those of :data:`ODD`.
    slices
        Of each of the others.

    Returns
    -------
    list of list of pathlib.Path
        The place or places of each study.
    """
    root.mkdir()
    patients = sorted(CtIch(data / "ct-ich").patients())
    places = list(_odd(root, data, patients, slices))
    for k in range(studies - len(places)):
        folder = root / f"{k % 4}" / f"study-{k:03d}"
        folder.mkdir(parents=True)
        write_series(folder, data, patient=patients[k % len(patients)], slices=slices)
        places.append([_zipped(folder) if k % _ZIPPED == 0 else folder])
    return places


def _odd(root: Path, data: Path, patients: list[str], slices: int) -> Iterator[list[Path]]:
    """Write the studies that are not like the others."""
    shutil.copy(demo_exam(), root / "demo.zip")
    yield [root / "demo.zip"]
    shutil.copytree(data / "cq500" / "CQ500-CT-0", root / "thin")
    yield [root / "thin"]
    (root / "broken").mkdir()
    (root / "broken" / "1.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 4000)
    yield [root / "broken"]
    (root / "mr").mkdir()
    write_series(root / "mr", data, patient=patients[0], slices=slices, modality="MR")
    yield [root / "mr"]
    (root / "poison").mkdir()
    slice_of(root / "poison", "marker", _POISON)
    yield [root / "poison"]
    study, parts = generate_uid(), [root / "two" / "head", root / "two" / "more" / "head"]
    for patient, count, part in zip(patients[1:], (slices, slices - 2), parts, strict=False):
        part.mkdir(parents=True)
        write_series(part, data, patient=patient, slices=count, study=study)
    yield parts


def _zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as file:
        for one in sorted(folder.iterdir()):
            file.write(one, one.name)
    shutil.rmtree(folder)
    return path


def make_trap(folder: Path) -> str:
    """Write what takes the checks of headers out of a reader that opens the study ``poison``.

    The real decoder then ends the reader's process, as a fault would that nobody knows yet.

    Returns
    -------
    str
        For ``PYTHONPATH``.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(TRAP)
    return str(folder)
