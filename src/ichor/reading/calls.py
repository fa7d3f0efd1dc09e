"""``ichor.read`` and ``ichor.read_all``: reading here, or in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam, Picture
from ichor.reading.limits import Limits

__all__ = ["read", "read_all"]


def read(
    path: str | os.PathLike[str],
    *,
    series: str | None = None,
    limits: Limits | None = None,
    isolated: bool = False,
) -> Exam | Picture:
    """Read the one exam or picture that a path holds.

    Parameters
    ----------
    path
        A folder of DICOM files, one DICOM file, a zip of either, a NIfTI volume, or a picture of a slice.
    series
        Series instance UID (as stored, or hashed) to take instead of the one that the rules choose.
    limits
        How much is read; by default :meth:`Limits.from_environment`.
    isolated
        Read in a process of its own, under a ceiling of memory and time: a file that ends a decoder, fills
        memory or never ends is refused, and this process goes on.

    Returns
    -------
    Exam or Picture
        What was read, with everything that was noticed in ``notices``.

    Raises
    ------
    RefusedInput
        Where it cannot be read as an exam or picture.
    UsageError
        Where the path holds several: :func:`read_all` gives each.
    """
    results = list(read_all(path, series=series, limits=limits, isolated=isolated))
    good = [r for r in results if not isinstance(r, RefusedInput)]
    if len(results) > 1:
        raise UsageError(
            f"{path}: found {len(results)} exams or pictures; expected one; use ichor.read_all to get each"
        )
    if not good:
        raise next(r for r in results if isinstance(r, RefusedInput))
    return good[0]


def read_all(
    *paths: str | os.PathLike[str],
    series: str | None = None,
    limits: Limits | None = None,
    isolated: bool = False,
) -> Iterator[Exam | Picture | RefusedInput]:
    """Read everything that some paths hold; what cannot be read is given as its refusal, the rest goes on.

    Parameters
    ----------
    *paths
        As in :func:`read`.
    series, limits, isolated
        As in :func:`read`; each path has the limits to itself.

    Yields
    ------
    Exam, Picture or RefusedInput
        One a study, volume or picture; a refusal for a path that held nothing.
    """
    bounds = limits or Limits.from_environment()
    for path in paths:
        _check_path(path)
        # Decoders are imported where reading happens, here or there.
        if isolated:
            from ichor.reading.isolation import read_path

            yield from read_path(path, series, bounds)
        else:
            from ichor.reading.inputs import read_here

            yield from read_here(Path(path), series, bounds)


def _check_path(path: object) -> None:
    """Refuse in a sentence what is no path."""
    if isinstance(path, str | os.PathLike):
        return
    raise UsageError(
        f"read: found a {type(path).__name__}; expected a path (str or os.PathLike); of HU in memory make an exam: "
        "ichor.Exam.from_array(hu, spacing)"
    )
