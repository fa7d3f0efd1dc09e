"""Which files are NIfTI, by what they hold rather than by their names, and which two of them are a pair."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ichor.reading.files import InputFile
from ichor.reading.gzipped import start_of

__all__ = ["NiftiFile", "NiftiPart", "nifti_part", "pair_up", "partner_of"]

HEADER_BYTES = 540
"""Of the longer header, that of version 2."""
_NAMES = (".nii", ".nii.gz")
_PAIR = {".hdr": ".img", ".img": ".hdr"}
_MAGIC_1, _MAGIC_2 = 344, 4


class NiftiPart(Enum):
    """What a file is of a volume."""

    whole = "header and voxels"
    header = "header of a pair"
    voxels = "voxels of a pair"


@dataclass(frozen=True)
class NiftiFile:
    """One volume: a file, or a header and the file of its voxels.

    Attributes
    ----------
    header
        The file, or the header of a pair.
    voxels
        The other file of a pair; None where there is none.
    """

    header: InputFile
    voxels: InputFile | None = None

    @property
    def name(self) -> str:
        """How messages name it."""
        return self.header.name


def nifti_part(file: InputFile) -> NiftiPart | None:
    """Tell what of a NIfTI volume a file is; None where it is none.

    A file is NIfTI by its name, whatever it holds: its refusal then says what is wrong with it. By what it holds, it
    is NIfTI whatever its name, and whether packed or not.
    """
    lower = file.name.lower()
    suffix = _split(lower)[1]
    if suffix == ".img":
        return NiftiPart.voxels
    magic = _magic(start_of(file.path, HEADER_BYTES))
    if lower.endswith(_NAMES) or magic in (b"n+1", b"n+2"):
        return NiftiPart.whole
    if magic in (b"ni1", b"ni2") or (suffix == ".hdr" and magic == b""):
        return NiftiPart.header
    return None


def pair_up(parts: Iterable[tuple[InputFile, NiftiPart]]) -> tuple[list[NiftiFile], list[InputFile]]:
    """Put the files of an input together to volumes.

    Returns
    -------
    volumes, rest
        In order of the parts; files of voxels that belong to no header.
    """
    known = list(parts)
    voxels = {_split(f.name.lower())[0]: f for f, part in known if part is NiftiPart.voxels}
    volumes = []
    for file, part in known:
        if part is NiftiPart.header:
            volumes.append(NiftiFile(file, voxels.pop(_split(file.name.lower())[0], None)))
        elif part is NiftiPart.whole:
            volumes.append(NiftiFile(file))
    return volumes, list(voxels.values())


def partner_of(path: Path, name: str) -> list[InputFile]:
    """Find the file that is a pair with this one, beside it on disk; empty where there is none."""
    stem, suffix = _split(path.name.lower())
    wanted = _PAIR.get(suffix)
    if wanted is None:
        return []
    try:
        beside = sorted(path.parent.iterdir())
    except OSError:
        return []
    for other in beside:
        if _split(other.name.lower()) == (stem, wanted) and other.is_file():
            return [InputFile(other, name.removesuffix(path.name) + other.name)]
    return []


def _split(name: str) -> tuple[str, str]:
    """Stem and ``.hdr`` or ``.img`` of a name in lower case, packed or not; an empty suffix for any other."""
    plain = name.removesuffix(".gz")
    stem, dot, suffix = plain.rpartition(".")
    return (stem, dot + suffix) if dot + suffix in _PAIR else (plain, "")


def _magic(head: bytes) -> bytes | None:
    """Magic of a NIfTI header; empty for a header of that size without one (Analyze 7.5); None for no header."""
    if len(head) < 348:
        return None
    sizes = {struct.unpack(order + "l", head[:4])[0] for order in ("<", ">")}
    if 540 in sizes and head[_MAGIC_2 : _MAGIC_2 + 3] in (b"n+2", b"ni2"):
        return head[_MAGIC_2 : _MAGIC_2 + 3]
    if 348 not in sizes:
        return None
    magic = head[_MAGIC_1 : _MAGIC_1 + 3]
    return magic if magic in (b"n+1", b"ni1") else b""
