"""What all unpacking shares: a private folder, names of our own, and sizes that are counted, not believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ichor.errors import RefusedInput
from ichor.reading.context import ReadContext
from ichor.reading.files import InputFile, announce, shown

__all__ = ["Unpacker", "cannot_unpack", "is_junk", "unsafe"]

_CHUNK = 1 << 20
_RATIO_FLOOR = 1 << 20
"""Below this many unpacked bytes no ratio is suspicious: a black slice packs well."""
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_EXTENSIONS = (
    *(".nii.gz", ".nii", ".hdr.gz", ".hdr", ".img.gz", ".img"),
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".dcm", ".zip"),
)


class Unpacker:
    """Writes the entries of one input to a folder, within the limits.

    Parameters
    ----------
    folder
        Private; files get numbers for names there, and keep their extension.
    packed
        Bytes that the input has on disk.
    context
        Of the reading.

    Attributes
    ----------
    files
        What was unpacked so far.
    """

    def __init__(self, folder: Path, packed: int, context: ReadContext) -> None:
        self.files: list[InputFile] = []
        self._folder = folder
        self._packed = packed
        self._context = context
        self._total = 0
        limits, name = context.limits, context.source
        if packed > limits.total_bytes:
            raise limits.refuse(name, "total_bytes", f"an archive of {packed:,} bytes")

    def check_name(self, entry: str) -> None:
        """Refuse an entry that would leave its folder, or lies too deep.

        Raises
        ------
        RefusedInput
            ``unsafe_archive`` or ``limit_exceeded``.
        """
        limits, name = self._context.limits, self._context.source
        path = PurePosixPath(entry.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
            raise unsafe(name, "an entry that leaves the archive's folder", "entries within it")
        if len(path.parts) - 1 > limits.depth:
            raise limits.refuse(name, "depth", f"an entry in folders {len(path.parts) - 1} deep")

    def check_count(self, n: int) -> None:
        """Refuse more entries than the limits allow.

        Raises
        ------
        RefusedInput
            ``limit_exceeded``.
        """
        if n > self._context.limits.files:
            raise self._context.refuse("files", f"{n:,} entries")

    def write(self, entry: str, read: Callable[[int], bytes], name: str = "") -> InputFile:
        """Unpack one entry.

        Parameters
        ----------
        entry
            Its name in the archive.
        read
            Gives its next bytes, at most as many as asked for; nothing at its end.
        name
            How messages name it; by default ``archive:entry``.

        Raises
        ------
        RefusedInput
            ``limit_exceeded``.
        """
        context = self._context
        target = self._folder / f"{len(self.files):06d}{_extension(entry)}"
        with target.open("wb") as sink:
            while True:
                context.check_time()
                announce(InputFile(Path(context.source), context.source))
                chunk = read(_CHUNK)
                if not chunk:
                    break
                self._total += sink.write(chunk)
                self._check_size(sink.tell())
        file = InputFile(target, name or f"{context.source}:{shown(entry)}")
        self.files.append(file)
        return file

    def _check_size(self, size: int) -> None:
        """Refuse what has grown too large: this entry so far, and all of them."""
        limits, name, total = self._context.limits, self._context.source, self._total
        if size > limits.file_bytes:
            raise limits.refuse(name, "file_bytes", f"an entry of more than {limits.file_bytes:,} bytes")
        if total > limits.total_bytes:
            raise limits.refuse(name, "total_bytes", f"more than {limits.total_bytes:,} bytes unpacked")
        if total > _RATIO_FLOOR and total > limits.archive_ratio * self._packed:
            raise limits.refuse(
                name, "archive_ratio", f"more than {limits.archive_ratio} times its packed size"
            )


def is_junk(entry: str) -> bool:
    """Tell whether an entry is what file managers leave in archives."""
    parts = PurePosixPath(entry.replace("\\", "/")).parts
    return any(part in _JUNK or part.startswith("._") for part in parts)


def unsafe(name: str, found: str, expected: str) -> RefusedInput:
    """Make the refusal of an archive that does what no honest one does."""
    return RefusedInput(
        name,
        "unsafe_archive",
        found=found,
        expected=expected,
        remedy="do not open it; ask its sender for another",
    )


def cannot_unpack(name: str, found: str, expected: str) -> RefusedInput:
    """Make the refusal of an archive that is packed as ichor does not unpack."""
    return RefusedInput(
        name, "unreadable", found=found, expected=expected, remedy="unpack it, and give the folder"
    )


def _extension(entry: str) -> str:
    return next((known for known in _EXTENSIONS if entry.lower().endswith(known)), "")
