"""Where publishers keep data sets, and the official way to fetch each: Kaggle, PhysioNet, figshare, plain addresses."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from ichor.datasets.fetching import (
    TIMEOUT_SECONDS,
    Login,
    Remote,
    fetch,
    fetch_all,
    open_session,
    unreachable,
)
from ichor.datasets.unpacking import check_name, unpack_into
from ichor.errors import UsageError
from ichor.progress import Progress, silent, within

__all__ = ["STATE", "Archives", "Figshare", "Kaggle", "PhysioNet", "Source"]

STATE = ".got"
"""Folder in a data set's own that records what is done."""


class Source(Protocol):
    """An official way to a data set."""

    def get(self, folder: Path, progress: Progress, login: Login | None) -> None:
        """Fetch into a folder, going on where an earlier call stopped."""
        ...


@dataclass(frozen=True)
class Kaggle:
    """Kaggle, by its own client: ``kaggle`` on the path, with the user's token.

    Attributes
    ----------
    what
        ``competitions`` or ``datasets``.
    slug
        Kaggle's name.
    strip
        Folders that its archive puts around everything.
    """

    what: str
    slug: str
    strip: str = ""

    def get(self, folder: Path, progress: Progress, login: Login | None) -> None:
        """Fetch the archive with Kaggle's client, which goes on where it stopped, and unpack it."""
        archive = folder / f"{self.slug.rpartition('/')[2]}.zip"
        done = folder / STATE / archive.name
        if not done.exists():
            client = shutil.which("kaggle")
            if client is None:
                raise UsageError(
                    "Kaggle: found no client named kaggle; expected Kaggle's own; run pip install kaggle, "
                    "then kaggle auth login, or keep a token in ~/.kaggle/access_token"
                )
            progress(f"Kaggle's client is fetching {self.slug}", 0.0)
            flag = "-c" if self.what == "competitions" else "-d"
            command = [client, self.what, "download", flag, self.slug, "-p", str(folder)]
            ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if ended.returncode or not archive.exists():
                raise UsageError(_kaggle_failure(ended.stdout.decode(errors="replace"), self))
            unpack_into(archive, folder, progress, strip=self.strip)
            done.touch()
            archive.unlink()


@dataclass(frozen=True)
class PhysioNet:
    """PhysioNet, by HTTPS, every file checked against its ``SHA256SUMS.txt``.

    Attributes
    ----------
    folder_url
        Of the version's files.
    """

    folder_url: str

    def get(self, folder: Path, progress: Progress, login: Login | None) -> None:
        """Fetch the list of files, then each of them."""
        sums = folder / "SHA256SUMS.txt"
        with open_session() as session:
            fetch(Remote(f"{self.folder_url}/{sums.name}", sums.name), folder, silent, session, login)
            files = []
            for line in sums.read_text(encoding="utf-8").splitlines():
                digest, _, name = line.strip().partition(" ")
                name = name.strip().removeprefix("*")
                if name and name != sums.name:
                    check_name(name, self.folder_url)
                    files.append(Remote(f"{self.folder_url}/{name}", name, digest=f"sha256:{digest}"))
            fetch_all(files, folder, progress, session, login)


@dataclass(frozen=True)
class Archives:
    """Files at addresses that the publisher names; zips among them are unpacked.

    Attributes
    ----------
    files
        What to fetch.
    strip
        Folders that the zips put around everything.
    """

    files: tuple[Remote, ...]
    strip: str = ""

    def get(self, folder: Path, progress: Progress, login: Login | None) -> None:
        """Fetch each file; unpack the zips."""
        with open_session() as session:
            for number, file in enumerate(self.files):
                path = folder / file.name
                done = folder / STATE / path.name
                if path.suffix == ".zip" and done.exists():
                    continue
                before, share = number / len(self.files), 1 / len(self.files)
                fetch(file, folder, within(progress, before, share), session, login)
                if path.suffix == ".zip":
                    unpack_into(path, folder, within(progress, before, share), strip=self.strip)
                    done.touch()
                    path.unlink()


@dataclass(frozen=True)
class Figshare:
    """An article of figshare, every file checked against the MD5 that its API gives.

    Attributes
    ----------
    article
        Its number.
    api
        Address of the API.
    """

    article: int
    api: str = "https://api.figshare.com/v2"

    def get(self, folder: Path, progress: Progress, login: Login | None) -> None:
        """Ask for the files, and fetch each."""
        import requests

        url = f"{self.api}/articles/{self.article}"
        with open_session() as session:
            try:
                answer = session.get(url, timeout=TIMEOUT_SECONDS)
                answer.raise_for_status()
                listed = answer.json()["files"]
                files = [
                    Remote(
                        str(f["download_url"]),
                        PurePosixPath(str(f["name"])).name,
                        int(f["size"]),
                        f"md5:{f['computed_md5']}" if f.get("computed_md5") else "",
                    )
                    for f in listed
                ]
            except (requests.RequestException, ValueError, KeyError, TypeError) as error:
                raise unreachable(url, error) from None
            fetch_all(files, folder / "original", progress, session, login)


def _kaggle_failure(text: str, source: Kaggle) -> str:
    """Say what a failed call of Kaggle's client means."""
    low = text.lower()
    page = f"https://www.kaggle.com/{source.what}/{source.slug}"
    if (
        "401" in low
        or "authenticat" in low
        or "kaggle.json" in low
        or "access_token" in low
        or "api token" in low
    ):
        return (
            "Kaggle: found no login; expected the client's token; run kaggle auth login, or keep a token from "
            "https://www.kaggle.com/settings/api in ~/.kaggle/access_token"
        )
    if "403" in low or "forbidden" in low:
        return f"Kaggle: found that it refuses; expected a user who accepted the rules; accept them at {page}"
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing")
    return f"Kaggle: found that its client failed ({last[:200]}); expected {source.slug}; see {page}"
