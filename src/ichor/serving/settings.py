"""What a server is started with, checked before anything is opened."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ichor.errors import UsageError
from ichor.jobs.settings import WorkerSettings
from ichor.reading.limits import Limits

__all__ = ["Settings", "default_state", "is_loopback"]


@dataclass(frozen=True)
class Settings:
    """How to serve.

    Attributes
    ----------
    state
        Folder for everything that is kept; made private to the user where it does not exist.
    host, port
        Where to listen; port 0 takes a free one.
    database
        URL of the database; empty for a SQLite file in ``state``.
    bundles
        Names, paths or combinations (``A+B``) of the models to choose from; empty for all that are installed.
    token
        What whoever comes must show; None for none.
    users
        Password hashes by user name (:mod:`ichor.serving.passwords`); empty for none.
    hosts
        Further names under which the server may be addressed.
    keep_days
        Days after which a study is deleted; 0 keeps it until somebody deletes it.
    keep_originals
        Keep uploaded files as long as their studies.
    show_identity
        Keep name, ID, accession number, date and description of studies, and show them on the page.
    certificate, key
        PEM files, for https; None for http.
    trusted_proxies
        Addresses or networks of proxies in front: what they say of a caller's address and of https is believed.
    limits
        How much of an input is read.

    Raises
    ------
    UsageError
        Where it would be open to others without a token or users, or a value cannot be used.
    """

    state: Path
    host: str = "127.0.0.1"
    port: int = 8000
    database: str = ""
    bundles: tuple[str, ...] = ()
    token: str | None = None
    users: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    keep_days: float = 30.0
    keep_originals: bool = False
    show_identity: bool = False
    certificate: Path | None = None
    key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits.from_environment)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"--port: found {self.port}; expected 0 to 65535")
        if self.keep_days < 0:
            raise UsageError(f"--keep-days: found {self.keep_days:g}; expected 0 (never) or more")
        if (self.certificate is None) != (self.key is None):
            raise UsageError("found one of --certificate and --key; expected both, or neither")
        self._check_proxies()
        self._check_identity()
        if not self.guarded and not is_loopback(self.host):
            raise UsageError(
                f"--host {self.host}: found an address that others can reach, and neither a token nor users; "
                "expected one of them; give --token-file or --users, or listen on 127.0.0.1"
            )

    def _check_proxies(self) -> None:
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise UsageError(
                    f"--trusted-proxy {proxy}: found no address; expected one, or a network such as 10.0.0.0/8"
                ) from None
        if self.trusted_proxies and not self.guarded:
            raise UsageError(
                "--trusted-proxy: found neither a token nor users, behind a proxy that lets others in; expected one "
                "of them; give --token-file or --users"
            )

    def _check_identity(self) -> None:
        """Names of patients are shown on this machine alone, or to whoever has logged in."""
        if self.show_identity and not self.guarded and (not is_loopback(self.host) or self.hosts):
            raise UsageError(
                "--show-identity: found that others may reach this server (--allow-host), and neither a token nor "
                "users; expected one of them, or this machine alone; give --token-file or --users"
            )

    @property
    def guarded(self) -> bool:
        """Whether whoever comes must show who they are."""
        return self.token is not None or bool(self.users)

    @property
    def database_url(self) -> str:
        """URL with the driver that is used."""
        url = self.database or f"sqlite:///{self.state / 'ichor.db'}"
        for plain in ("postgres://", "postgresql://"):
            if url.startswith(plain):
                return "postgresql+psycopg://" + url.removeprefix(plain)
        return url

    @property
    def worker(self) -> WorkerSettings:
        """Settings of the server's worker."""
        return WorkerSettings(
            state=str(self.state.resolve()),
            database=self.database_url,
            bundles=self.bundles,
            keep_originals=self.keep_originals,
            show_identity=self.show_identity,
            limits=asdict(self.limits),
        )

    def is_trusted_proxy(self, address: str) -> bool:
        """Tell whether an address is that of a proxy whose word counts."""
        try:
            given = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(given, "ipv4_mapped", None) or given
        return any(mapped in ipaddress.ip_network(proxy) for proxy in self.trusted_proxies)

    def allows_host(self, name: str) -> bool:
        """Tell whether a request may name this server so (no port): another name is a rebound DNS entry."""
        name = name.strip("[]").lower()
        if name in {"localhost", self.host.lower(), *(h.lower() for h in self.hosts)}:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return not is_loopback(self.host) and name in {
                socket.gethostname().lower(),
                socket.getfqdn().lower(),
            }
        # A page of another site has a name; whoever types an address means this machine.
        return address.is_loopback or not is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def default_state() -> Path:
    """Return the folder that is used where none is named."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "ichor" / "serve"
