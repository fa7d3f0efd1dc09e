"""Where prepared slices lie: a folder, or a store such as S3; written whole, read in parts."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from ichor.errors import UsageError
from ichor.reading.object_stores import open_store

__all__ = ["Place", "below", "open_place"]


class Place(Protocol):
    """Files by name; may be given to another process."""

    address: str

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Read a file, or a part of it.

        Raises
        ------
        OSError
            Where it cannot be read; ``FileNotFoundError`` where it is not there.
        """

    def write(self, name: str, content: bytes) -> None:
        """Write a file, which is there whole or not at all; its folders are made.

        Raises
        ------
        OSError
            Where it cannot be written.
        """


def open_place(address: str) -> Place:
    """Open what an address names: a folder, which need not exist, or ``s3://bucket/prefix``, whose bucket must.

    Raises
    ------
    UsageError
        For another scheme, or a store that cannot be used.
    """
    scheme, found, _ = address.partition("://")
    if not found:
        return _Folder(Path(address))
    if scheme == "s3":
        return _Store(address)
    raise UsageError(
        f"{address.partition('?')[0]}: found the scheme {scheme}; expected a folder or s3://bucket/prefix"
    )


def below(address: str, name: str) -> str:
    """Return the address of what lies below another one."""
    path, mark, options = address.partition("?") if "://" in address else (address, "", "")
    return f"{path.rstrip('/')}/{name}{mark}{options}"


class _Folder:
    def __init__(self, folder: Path) -> None:
        self.address, self._folder = str(folder), folder

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        with (self._folder / name).open("rb", buffering=0) as file:
            file.seek(start)
            return file.read(-1 if length is None else length)

    def write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


class _Store:
    """Opened where it is first used, once a process: what pyarrow opens cannot go to another one."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._opened: tuple[Any, str] | None = open_store(address)

    def __getstate__(self) -> dict[str, Any]:
        return {"address": self.address, "_opened": None}

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        there, path = self._at(name)
        with there.open_input_file(path) as file:
            content: bytes = file.read() if length is None else file.read_at(length, start)
        return content if length is not None else content[start:]

    def write(self, name: str, content: bytes) -> None:
        there, path = self._at(name)
        with there.open_output_stream(path) as stream:
            stream.write(content)

    def _at(self, name: str) -> tuple[Any, str]:
        there, root = self._opened = self._opened or open_store(self.address)
        return there, str(PurePosixPath(root) / name)
