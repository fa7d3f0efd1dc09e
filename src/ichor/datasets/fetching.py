"""Files fetched over HTTP: going on where an earlier call stopped, and checked against the publisher's digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ichor.errors import UsageError
from ichor.progress import Progress, within

if TYPE_CHECKING:
    import requests

__all__ = [
    "Login",
    "Remote",
    "fetch",
    "fetch_all",
    "open_session",
    "unreachable",
]

_BLOCK = 1 << 16
TIMEOUT_SECONDS = 60
_TRIES = 5


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
        Bytes, where the publisher gives them.
    digest
        ``algorithm:hex``, where the publisher gives it.
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


def fetch(
    remote: Remote, folder: Path, progress: Progress, session: requests.Session, login: Login | None = None
) -> Path:
    """Fetch one file, going on where an earlier call stopped, and check it.

    Parameters
    ----------
    remote
        What.
    folder
        Where to; the file gets its name when it is whole, ``.part`` until then.
    progress
        Called with how much is there.
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
            if _stream(remote, part, tag, progress, session, login):
                break
        except requests.RequestException as error:
            failure = error
            # A connection that brought something is worth another try; one that brought nothing has had its tries.
            if (
                isinstance(error, requests.HTTPError)
                or (part.stat().st_size if part.exists() else 0) <= before
            ):
                raise unreachable(remote.url, error) from None
    else:
        raise unreachable(remote.url, failure or requests.ConnectionError()) from None
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
    remote: Remote, part: Path, tag: Path, progress: Progress, session: requests.Session, login: Login | None
) -> bool:
    """Append what is missing of a file; whether it is whole."""
    have = part.stat().st_size if part.exists() else 0
    mark = tag.read_text() if tag.exists() else ""
    if remote.size is not None and have >= remote.size:
        if have == remote.size:
            return True
        have = 0
    headers = {"Accept-Encoding": "identity"}
    # Without the mark of a version, two versions of the file could be sewn together; a digest would reveal it.
    if have and (mark or remote.digest):
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": mark} if mark else {})
    with session.get(
        remote.url,
        headers=headers,
        stream=True,
        timeout=TIMEOUT_SECONDS,
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
        length = answer.headers.get("Content-Length")
        whole = have + int(length) if length else remote.size
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            for block in answer.iter_content(_BLOCK):
                file.write(block)
                have += len(block)
                progress(f"{remote.name}: {have / 1e6:,.0f} MB", have / whole if whole else 0.0)
    return whole is None or have == whole


def fetch_all(
    files: list[Remote], folder: Path, progress: Progress, session: requests.Session, login: Login | None
) -> None:
    """Fetch files, one after the other, into a folder; the errors are those of :func:`fetch`."""
    for number, file in enumerate(files):
        fetch(file, folder, within(progress, number / len(files), 1 / len(files)), session, login)


def open_session() -> requests.Session:
    """Return connections that try again where a server is busy.

    Raises
    ------
    UsageError
        Where the extra ``train`` is not installed.
    """
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


def unreachable(url: str, error: Exception) -> UsageError:
    """Return the error for an address that gave no file: a login is needed, or it did not answer."""
    answer = getattr(error, "response", None)  # not every error of requests has one
    if answer is not None and answer.status_code in (401, 403):
        return UsageError(
            f"{url}: found that a login is needed or refused (HTTP {answer.status_code}); expected one that has signed "
            "the data use agreement there; give --user, and the password when asked"
        )
    found = f"HTTP {answer.status_code}" if answer is not None else f"no answer ({type(error).__name__})"
    return UsageError(f"{url}: found {found}; expected the publisher's file; check the network and try again")


def _digest(path: Path, like: str) -> str:
    algorithm = like.partition(":")[0]
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
