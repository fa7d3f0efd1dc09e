"""``ichor.read`` and ``ichor.read_all``: reading here, or in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam, Picture
from ichor.reading.limits import Limits
from ichor.reading.memory import Readable, is_path, name_of, on_disk, renamed

__all__ = ["read", "read_all"]


def read(
    source: Readable,
    *,
    series: str | None = None,
    limits: Limits | None = None,
    isolated: bool = False,
) -> Exam | Picture:
    """Read the one exam or picture that a path, a file object or some data sets hold.

    Parameters
    ----------
    source
        A folder of DICOM files, one DICOM file, a zip of either, a NIfTI volume, or a picture of a slice; a file of
        these, opened in binary mode; or a list of pydicom's data sets. What is in memory is laid on a private place
        on the disk while it is read.
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
        Where it holds several: :func:`read_all` gives each. Where it is nothing that can be read.
    """
    results = list(read_all(source, series=series, limits=limits, isolated=isolated))
    good = [r for r in results if not isinstance(r, RefusedInput)]
    if len(results) > 1:
        raise UsageError(
            f"{name_of(source)}: found {len(results)} exams or pictures; expected one; use ichor.read_all to get each"
        )
    if not good:
        raise next(r for r in results if isinstance(r, RefusedInput))
    return good[0]


def read_all(
    *sources: Readable,
    series: str | None = None,
    limits: Limits | None = None,
    isolated: bool = False,
) -> Iterator[Exam | Picture | RefusedInput]:
    """Read everything that some sources hold; what cannot be read is given as its refusal, the rest goes on.

    Parameters
    ----------
    *sources
        Each as in :func:`read`.
    series, limits, isolated
        As in :func:`read`; each source has the limits to itself.

    Yields
    ------
    Exam, Picture or RefusedInput
        One a study, volume or picture; a refusal for a source that held nothing.
    """
    bounds = limits or Limits.from_environment()
    for source in sources:
        if is_path(source):
            yield from _read_path(source, series, bounds, isolated=isolated)
            continue
        try:
            with on_disk(source, bounds) as place:
                for result in _read_path(place, series, bounds, isolated=isolated):
                    yield renamed(result, place, name_of(source))
        except RefusedInput as refusal:
            yield refusal


def _read_path(
    path: str | os.PathLike[str], series: str | None, limits: Limits, *, isolated: bool
) -> Iterator[Exam | Picture | RefusedInput]:
    # Decoders are imported where reading happens, here or there.
    if isolated:
        from ichor.reading.isolation import read_path

        yield from read_path(path, series, limits)
    else:
        from ichor.reading.inputs import read_here

        yield from read_here(Path(path), series, limits)
