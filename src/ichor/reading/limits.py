"""How much of an input ichor is willing to read: the one place for every limit.

Each can be overridden by an environment variable (``ICHOR_LIMIT_`` and the name in capitals), by
``ichor detect --limit name=value``, or in Python with ``Limits(name=value)``.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, field, fields

from ichor.errors import RefusedInput, UsageError

__all__ = ["Deadline", "Limits"]

_MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Upper bounds for one input.

    Attributes
    ----------
    file_bytes
        Bytes of one file on disk, or of one entry of an archive once unpacked.
    total_bytes
        Unpacked bytes of one archive, and bytes of all files of one input.
    files
        Files of one folder or entries of one archive.
    depth
        Nested folders.
    archive_ratio
        Unpacked over packed bytes of an archive.
    pixels
        Pixels of one slice or picture.
    voxels
        Voxels of one exam.
    frames
        Frames of a multi-frame object, slices of a series, pages of a picture.
    sequence_depth
        Nested DICOM sequences.
    seconds
        Wall time for reading one input, which begins again with each of its exams and pictures that was read.
    file_seconds
        Wall time for one file, or one slice of it, where reading is isolated.
    memory_bytes
        Memory of the process that reads one input, where reading is isolated: a quarter of it, and 30 bytes
        more for each byte of the input, but never more than this.
    """

    file_bytes: int = 2_000 * _MB
    total_bytes: int = 8_000 * _MB
    files: int = 20_000
    depth: int = 16
    archive_ratio: int = 200
    pixels: int = 40 * _MB
    voxels: int = 700 * _MB
    frames: int = 4_000
    sequence_depth: int = 16
    seconds: float = 300.0
    file_seconds: float = 60.0
    memory_bytes: int = 3_600 * _MB

    @classmethod
    def from_environment(cls, **overrides: float) -> Limits:
        """Return the limits with ``ICHOR_LIMIT_*`` variables, then ``overrides``, applied.

        Raises
        ------
        UsageError
            For a name that is no limit, or a value that is no positive number.
        """
        known = {f.name: f.type for f in fields(cls)}
        values: dict[str, float] = {}
        for name in known:
            text = os.environ.get(f"ICHOR_LIMIT_{name.upper()}")
            if text is not None:
                values[name] = _number(f"ICHOR_LIMIT_{name.upper()}", text, counted=known[name] != "float")
        for name, value in overrides.items():
            if name not in known:
                raise UsageError(f"limit {name!r}: found no such limit; expected one of {', '.join(known)}")
            values[name] = _number(name, str(value), counted=known[name] != "float")
        return cls(**{n: v if known[n] == "float" else int(v) for n, v in values.items()})  # type: ignore[arg-type]

    def refuse(self, source: str, name: str, found: str) -> RefusedInput:
        """Make the refusal for a limit that was passed."""
        return RefusedInput(
            source,
            "limit_exceeded",
            found=found,
            expected=f"at most {getattr(self, name):,} ({name})",
            remedy=f"check the file, or raise the limit with --limit {name}=VALUE",
        )


@dataclass
class Deadline:
    """The wall time that reading one input may take, checked between files and slices."""

    limits: Limits
    source: str
    started: float = field(default_factory=time.monotonic)

    def pause(self, seconds: float) -> None:
        """Leave out time in which nothing was read, such as while whoever asked detects in what was read."""
        self.started += seconds

    def begin_again(self) -> None:
        """Give the next study the whole time: an input of many healthy ones takes as long as it takes."""
        self.started = time.monotonic()

    def check(self) -> None:
        """Raise :class:`~ichor.errors.RefusedInput` when the time is over."""
        taken = time.monotonic() - self.started
        if taken > self.limits.seconds:
            raise self.limits.refuse(self.source, "seconds", f"{taken:.0f} s of reading")


def _number(name: str, text: str, *, counted: bool) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value >= 1 if counted else value > 0) or math.isinf(value):
        expected = "a number above 0" + (", 1 or more" if counted else "")
        raise UsageError(f"limit {name}: found {text!r}; expected {expected}")
    return value
