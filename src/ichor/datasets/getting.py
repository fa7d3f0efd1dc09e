"""Data sets fetched from where their publishers keep them, with their own words on licence and login."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from ichor.datasets.labelled import DatasetInfo
from ichor.datasets.registry import DATASETS
from ichor.datasets.unpacking import check_name, unpack_into
from ichor.errors import UsageError

if TYPE_CHECKING:
    import requests

__all__ = ["SOURCES", "Archives", "Figshare", "Kaggle", "PhysioNet", "Remote", "Source", "fetch", "get"]

Tell = Callable[[str, float], None]
"""Told what is being done, and how much of it (0..1)."""
_BLOCK = 1 << 16
_SECONDS = 60
_TRIES = 5
_STATE = ".got"
"""Folder in a data set's that says what is done."""
_ALL = "all"


@dataclass(frozen=True)
class Remote:
    """A file at a publisher's.

    Attributes
    ----------
    url
        Where.
    name
        Path below the folder to put it in.
    size
        Bytes, where told.
    digest
        ``algorithm:hex``, where told.
    """

    url: str
    name: str
    size: int | None = None
    digest: str = ""


@dataclass(frozen=True)
class Login:
    """Name and password at a publisher's; never shown."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "Login(...)"


class Source(Protocol):
    """An official way to a data set."""

    def get(self, folder: Path, tell: Tell, login: Login | None) -> None:
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

    def get(self, folder: Path, tell: Tell, login: Login | None) -> None:
        """Fetch the archive with Kaggle's client, which goes on where it stopped, and unpack it."""
        archive = folder / f"{self.slug.rpartition('/')[2]}.zip"
        done = folder / _STATE / archive.name
        if not done.exists():
            client = shutil.which("kaggle")
            if client is None:
                raise UsageError(
                    "Kaggle: found no client named kaggle; expected Kaggle's own; run pip install kaggle, "
                    "then kaggle auth login, or keep a token in ~/.kaggle/access_token"
                )
            tell(f"Kaggle's client is fetching {self.slug}", 0.0)
            flag = "-c" if self.what == "competitions" else "-d"
            command = [client, self.what, "download", flag, self.slug, "-p", str(folder)]
            ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if ended.returncode or not archive.exists():
                raise UsageError(_kaggle_says(ended.stdout.decode(errors="replace"), self))
            unpack_into(archive, folder, tell, strip=self.strip)
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

    def get(self, folder: Path, tell: Tell, login: Login | None) -> None:
        """Fetch the list of files, then each of them."""
        sums = folder / "SHA256SUMS.txt"
        with _session() as session:
            fetch(Remote(f"{self.folder_url}/{sums.name}", sums.name), folder, _silent, session, login)
            files = []
            for line in sums.read_text(encoding="utf-8").splitlines():
                digest, _, name = line.strip().partition(" ")
                name = name.strip().removeprefix("*")
                if name and name != sums.name:
                    check_name(name, self.folder_url)
                    files.append(Remote(f"{self.folder_url}/{name}", name, digest=f"sha256:{digest}"))
            _fetch_all(files, folder, tell, session, login)


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

    def get(self, folder: Path, tell: Tell, login: Login | None) -> None:
        """Fetch each file; unpack the zips."""
        with _session() as session:
            for number, file in enumerate(self.files):
                path = folder / file.name
                done = folder / _STATE / path.name
                if path.suffix == ".zip" and done.exists():
                    continue
                before, share = number / len(self.files), 1 / len(self.files)
                fetch(file, folder, _part(tell, before, share), session, login)
                if path.suffix == ".zip":
                    unpack_into(path, folder, _part(tell, before, share), strip=self.strip)
                    done.touch()
                    path.unlink()


@dataclass(frozen=True)
class Figshare:
    """An article of figshare, every file checked against the MD5 that its API tells.

    Attributes
    ----------
    article
        Its number.
    api
        Address of the API.
    """

    article: int
    api: str = "https://api.figshare.com/v2"

    def get(self, folder: Path, tell: Tell, login: Login | None) -> None:
        """Ask for the files, and fetch each."""
        import requests

        url = f"{self.api}/articles/{self.article}"
        with _session() as session:
            try:
                answer = session.get(url, timeout=_SECONDS)
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
                raise _unreachable(url, error) from None
            _fetch_all(files, folder / "original", tell, session, login)


_CQ500 = "https://s3.ap-south-1.amazonaws.com/qure.headct.study"
SOURCES: dict[str, Source] = {
    "rsna": Kaggle(
        "competitions",
        "rsna-intracranial-hemorrhage-detection",
        strip="rsna-intracranial-hemorrhage-detection",
    ),
    "head-ct-hemorrhage": Kaggle("datasets", "felipekitamura/head-ct-hemorrhage"),
    "ct-ich": PhysioNet("https://physionet.org/files/ct-ich/1.3.1"),
    "cq500": Archives(
        (
            Remote(f"{_CQ500}/reads.csv", "reads.csv"),
            *(Remote(f"{_CQ500}/CQ500-CT-{n}.zip", f"CQ500-CT-{n}.zip") for n in range(491)),
        )
    ),
    "bhsd": Archives(
        (
            Remote(
                "https://huggingface.co/datasets/Wendy-Fly/BHSD/resolve/main/label_192.zip", "label_192.zip"
            ),
        ),
        strip="label_192",
    ),
    "phe-sich": Figshare(23957937),
}
"""Where each data set is kept by its publisher."""
_AFTERWARDS = {
    "phe-sich": "the publisher's files lie in original/: the loader reads slices.csv and images/, in the form that "
    "docs/how-to/get-the-data.md tells"
}


def get(
    name: str, data: Path, tell: Tell, login: Login | None = None, source: Source | None = None
) -> list[str]:
    """Fetch a data set.

    Parameters
    ----------
    name
        One of the registry.
    data
        Folder with one sub-folder a data set.
    tell
        Told how far it is.
    login
        Where the publisher asks for one.
    source
        Another way than ``SOURCES[name]``.

    Returns
    -------
    list of str
        What is still missing, or still to be done; empty where the data set can be used.

    Raises
    ------
    UsageError
        Where it cannot be fetched: with what to do by hand.
    """
    infos = [form.info for form in DATASETS[name]]
    folder = data / name
    state = folder / _STATE
    if _whole(infos, folder):
        return []
    try:
        state.mkdir(parents=True, exist_ok=True)
        (source or SOURCES[name]).get(folder, tell, login)
        (state / _ALL).touch()
    except UsageError as error:
        raise UsageError(f"{error}; {by_hand(name, data)}") from None
    except OSError as error:
        raise UsageError(
            f"{folder}: found that it cannot be written ({error.strerror or type(error).__name__}); expected room "
            "and permission; free some and run the command again: it goes on"
        ) from None
    if _whole(infos, folder):
        return []
    if name in _AFTERWARDS:
        return [_AFTERWARDS[name]]
    return [f"{folder} has no {pattern}" for pattern in infos[-1].missing(folder)]


def by_hand(name: str, data: Path) -> str:
    """Say how to get a data set without this computer's network: where from, and where to put what."""
    info = DATASETS[name][-1].info
    return f"or get it by hand from {info.url} ({info.access}) and put {', '.join(info.expected)} into {data / name}"


def fetch(
    remote: Remote, folder: Path, tell: Tell, session: requests.Session, login: Login | None = None
) -> Path:
    """Fetch one file, going on where an earlier call stopped, and check it.

    Parameters
    ----------
    remote
        What.
    folder
        Where to; the file gets its name when it is whole, ``.part`` until then.
    tell
        Told how much is there.
    session
        Connections.
    login
        Where one is needed.

    Raises
    ------
    UsageError
        Where it cannot be fetched, or is not what its publisher says.
    """
    import requests

    path = folder / remote.name
    if path.exists() and (not remote.digest or _digest(path, remote.digest) == remote.digest):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part, tag = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.tag")
    failure: Exception | None = None
    for _ in range(_TRIES):
        before = part.stat().st_size if part.exists() else 0
        try:
            if _stream(remote, part, tag, tell, session, login):
                break
        except requests.RequestException as error:
            failure = error
            # A connection that brought something is worth another try; one that brought nothing has had its tries.
            if (
                isinstance(error, requests.HTTPError)
                or (part.stat().st_size if part.exists() else 0) <= before
            ):
                raise _unreachable(remote.url, error) from None
    else:
        raise _unreachable(remote.url, failure or requests.ConnectionError()) from None
    if remote.digest and (found := _digest(part, remote.digest)) != remote.digest:
        part.unlink()
        tag.unlink(missing_ok=True)
        raise UsageError(
            f"{remote.url}: found a file of {found}; expected {remote.digest}, as the publisher says; "
            "it was removed; run the command again"
        )
    part.replace(path)
    tag.unlink(missing_ok=True)
    return path


def _stream(
    remote: Remote, part: Path, tag: Path, tell: Tell, session: requests.Session, login: Login | None
) -> bool:
    """Append what is missing of a file; whether it is whole."""
    have = part.stat().st_size if part.exists() else 0
    mark = tag.read_text() if tag.exists() else ""
    if remote.size is not None and have >= remote.size:
        if have == remote.size:
            return True
        have = 0
    headers = {"Accept-Encoding": "identity"}
    # Without the mark of a version, two versions of the file could be sewn together; a digest would tell.
    if have and (mark or remote.digest):
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": mark} if mark else {})
    with session.get(
        remote.url,
        headers=headers,
        stream=True,
        timeout=_SECONDS,
        auth=(login.user, login.password) if login else None,
    ) as answer:
        if answer.status_code == 416:  # nothing after what is here: it is whole, or another version
            have_all = answer.headers.get("Content-Range", "").endswith(f"/{have}")
            if not have_all:
                part.unlink(missing_ok=True)
            return have_all
        answer.raise_for_status()
        if answer.status_code != 206 or not answer.headers.get("Content-Range", "").startswith(
            f"bytes {have}-"
        ):
            have = 0
        version = answer.headers.get("ETag", "")
        tag.write_text("" if version.startswith("W/") else version or answer.headers.get("Last-Modified", ""))
        told = answer.headers.get("Content-Length")
        whole = have + int(told) if told else remote.size
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            for block in answer.iter_content(_BLOCK):
                file.write(block)
                have += len(block)
                tell(f"{remote.name}: {have / 1e6:,.0f} MB", have / whole if whole else 0.0)
    return whole is None or have == whole


def _fetch_all(
    files: list[Remote], folder: Path, tell: Tell, session: requests.Session, login: Login | None
) -> None:
    for number, file in enumerate(files):
        fetch(file, folder, _part(tell, number / len(files), 1 / len(files)), session, login)


def _session() -> requests.Session:
    try:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry
    except ImportError as error:
        raise UsageError(
            f"fetching: found no {error.name}; expected the extra 'train'; run pip install -e '.[train]' in the clone"
        ) from error
    session = requests.Session()
    again = Retry(total=3, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), raise_on_status=False)
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=again))
    return session


def _unreachable(url: str, error: Exception) -> UsageError:
    answer = getattr(error, "response", None)
    if answer is not None and answer.status_code in (401, 403):
        return UsageError(
            f"{url}: found that a login is needed or refused (HTTP {answer.status_code}); expected one that has signed "
            "the data use agreement there; give --user, and the password when asked"
        )
    found = f"HTTP {answer.status_code}" if answer is not None else f"no answer ({type(error).__name__})"
    return UsageError(f"{url}: found {found}; expected the publisher's file; check the network and try again")


def _kaggle_says(text: str, source: Kaggle) -> str:
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


def _whole(infos: list[DatasetInfo], folder: Path) -> bool:
    state = folder / _STATE
    begun = state.exists() and not (state / _ALL).exists()  # put there by hand, it has no state
    return folder.is_dir() and not begun and any(not info.missing(folder) for info in infos)


def _digest(path: Path, like: str) -> str:
    algorithm = like.partition(":")[0]
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _part(tell: Tell, before: float, share: float) -> Tell:
    return lambda text, done: tell(text, before + share * done)


def _silent(text: str, done: float) -> None:
    pass
