"""``node.toml``: what the node listens to, whom it trusts, what it does with what comes, and where results go."""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from ichor.errors import UsageError
from ichor.node.destinations import (
    AeTitle,
    Destination,
    Model,
    Name,
    ObjectDestination,
    Port,
    Seconds,
    Tls,
    Url,
)

__all__ = [
    "AskedArchive",
    "Bounds",
    "NodeConfig",
    "OrthancSource",
    "Peer",
    "Retrying",
    "Rule",
    "load_config",
    "parse_config",
    "with_flags",
]


class Peer(Model):
    """Who may open an association.

    Attributes
    ----------
    ae_title
        As it names itself.
    addresses
        Addresses or networks that it comes from, such as `10.1.2.3` or `10.1.2.0/24`.
    worklist
        Whether it may ask for the list of studies by C-FIND.
    """

    ae_title: AeTitle
    addresses: Annotated[list[str], Field(min_length=1)]
    worklist: bool = False

    @model_validator(mode="after")
    def _networks(self) -> Self:
        for address in self.addresses:
            try:
                ipaddress.ip_network(address)
            except ValueError:
                raise ValueError(f"found address {address!r}; expected 10.1.2.3 or 10.1.2.0/24") from None
        return self

    def comes_from(self, address: str) -> bool:
        """Return whether an address is one of this peer's."""
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in ipaddress.ip_network(a) for a in self.addresses)


class Rule(Model):
    """What is done with a series that fits every pattern; the first rule that fits counts.

    Attributes
    ----------
    called
        AE title under which it was sent; `*` and `?` stand for anything, capitals do not count.
    station
        StationName.
    description
        StudyDescription and SeriesDescription, one after the other.
    body_part
        BodyPartExamined.
    action
        What is done. What is no CT image is never assessed, whatever a rule says.
    to
        Destination of what is forwarded.
    """

    called: str = "*"
    station: str = "*"
    description: str = "*"
    body_part: str = "*"
    action: Literal["detect", "forward", "drop"]
    to: Name | None = None

    @model_validator(mode="after")
    def _target(self) -> Self:
        if (self.action == "forward") != (self.to is not None):
            raise ValueError("expected `to` with action forward, and with no other")
        return self


class Listening(Model):
    """The DICOM side.

    Attributes
    ----------
    ae_title
        Ours.
    further_ae_titles
        Further titles that it answers to, for rules.
    host, port
        Where to listen; port 0 takes a free one.
    tls
        None takes associations without TLS.
    watch
        Folder whose files are taken as if they had been sent, and removed there.
    """

    ae_title: AeTitle = "ICHOR"
    further_ae_titles: list[AeTitle] = Field(default_factory=list)
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 11112
    tls: Tls | None = None
    watch: Path | None = None


class OrthancSource(Model):
    """An Orthanc whose stable studies are fetched, by the list of changes of its REST API.

    Attributes
    ----------
    name
        By which logs and metrics name it.
    url
        Of its REST API.
    user, password_file
        Both or neither; the file's first line is the password.
    every_seconds
        Between two questions.
    timeout_seconds
        For each answer.
    from_beginning
        Whether studies that are there at the first start are fetched, too.
    """

    name: Name
    url: Url
    user: str | None = None
    password_file: Path | None = None
    every_seconds: Annotated[float, Field(ge=0.2, le=3600)] = 5.0
    timeout_seconds: Seconds = 60.0
    from_beginning: bool = False

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("expected user and password_file, or neither")
        return self


class Page(Model):
    """The HTTP side: the page and its API, as `ichor serve` has them.

    Attributes
    ----------
    host, port
        Where to listen.
    token_file
        Its first line is asked of everybody; needed where others than this machine can reach the page.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    token_file: Path | None = None


class AskedArchive(Model):
    """An archive that is asked by C-FIND how many instances it has of a study that is coming in.

    Attributes
    ----------
    host, port, ae_title
        Where it is, and its title.
    every_seconds
        Between two questions; a number counts when it is given twice in a row.
    timeout_seconds
        For each answer.
    tls
        None uses none.
    """

    host: str
    port: Port
    ae_title: AeTitle
    every_seconds: Annotated[float, Field(ge=0.5, le=600)] = 2.0
    timeout_seconds: Seconds = 30.0
    tls: Tls | None = None


class Completion(Model):
    """When a study is complete, and how long its files are held.

    Attributes
    ----------
    quiet_seconds
        Since its last file. A study is complete sooner where a scanner's MPPS is completed and all images that it lists
        are here.
    archive
        Asked how many instances it has: a study is complete sooner where as many are here. None is not asked.
    keep_hours
        Since its last file, once everything is delivered.
    """

    quiet_seconds: Annotated[float, Field(ge=0.5, le=3600)] = 10.0
    archive: AskedArchive | None = None
    keep_hours: Annotated[float, Field(gt=0, le=24 * 90)] = 24.0


class Bounds(Model):
    """How much the node takes before it refuses.

    Attributes
    ----------
    associations
        At once.
    connections_per_minute
        From one address.
    pdu_bytes
        Of one PDU.
    object_bytes, object_seconds
        Of one object, from its first byte to its last.
    idle_seconds
        Without a byte.
    association_seconds
        For TLS and the request of an association.
    spool_bytes
        That the node holds.
    free_bytes
        That stay free on the disk.
    study_instances
        Of one study.
    """

    associations: Annotated[int, Field(ge=1, le=200)] = 32
    connections_per_minute: Annotated[int, Field(ge=1)] = 240
    pdu_bytes: Annotated[int, Field(ge=4096, le=1 << 20)] = 128 * 1024
    object_bytes: Annotated[int, Field(ge=1 << 20)] = 1 << 30
    object_seconds: Seconds = 120.0
    idle_seconds: Seconds = 60.0
    association_seconds: Seconds = 15.0
    spool_bytes: Annotated[int, Field(ge=1 << 20)] = 50 << 30
    free_bytes: Annotated[int, Field(ge=0)] = 2 << 30
    study_instances: Annotated[int, Field(ge=1)] = 10_000


class Retrying(Model):
    """How long a delivery is tried.

    Attributes
    ----------
    first_seconds, most_seconds
        Until the second try; doubled each time up to the latter.
    days
        Until it is given up.
    """

    first_seconds: Seconds = 15.0
    most_seconds: Seconds = 3600.0
    days: Annotated[float, Field(gt=0, le=60)] = 7.0


class NodeConfig(Model):
    """The whole file.

    Attributes
    ----------
    state
        Folder for everything that is kept; by default that of `ichor serve`.
    bundle
        Name or path of the model.
    listen, page
        The two sides.
    completion
        When a study is complete.
    bounds
        What is refused.
    retrying
        How long a delivery is tried.
    peers
        Nobody else may send or ask.
    rules
        In their order; without any, every CT is assessed and the rest dropped; with some, what fits none is dropped.
    sources
        Archives whose studies are fetched.
    destinations
        Where results go.
    """

    state: Path | None = None
    bundle: str = "default"
    listen: Listening = Listening()
    page: Page = Page()
    completion: Completion = Completion()
    bounds: Bounds = Bounds()
    retrying: Retrying = Retrying()
    peers: list[Peer] = Field(default_factory=list)
    rules: list[Rule] = Field(default_factory=list)
    sources: list[OrthancSource] = Field(default_factory=list)
    destinations: list[Destination] = Field(default_factory=list)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for what, parts in (("destination", self.destinations), ("source", self.sources)):
            names = [part.name for part in parts]
            if twice := sorted({n for n in names if names.count(n) > 1}):
                raise ValueError(f"found the {what} {twice[0]!r} twice; expected each name once")
        takers = {d.name for d in self.destinations if isinstance(d, ObjectDestination)}
        for rule in self.rules:
            if rule.to is not None and rule.to not in takers:
                raise ValueError(
                    f"found a rule that forwards to {rule.to!r}; expected a destination of type dicom or stow"
                )
        return self

    @property
    def ae_titles(self) -> tuple[str, ...]:
        """Every title that the node answers to."""
        return (self.listen.ae_title, *self.listen.further_ae_titles)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of objects that some destination takes."""
        taken = {
            k for d in self.destinations if isinstance(d, ObjectDestination) and d.results for k in d.kinds
        }
        return tuple(k for k in ("seg", "sr", "sr-planar", "sc", "ko", "pdf") if k in taken)

    def destination(self, name: str) -> Any:
        """Return a destination by its name; None where the file has it no more."""
        return next((d for d in self.destinations if d.name == name), None)


def load_config(path: Path) -> NodeConfig:
    """Read and check a configuration.

    Parameters
    ----------
    path
        TOML.

    Raises
    ------
    UsageError
        Where it cannot be read, or something in it is unknown or cannot be used: all faults in one sentence.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path}: found that it cannot be read ({error.strerror or type(error).__name__}); expected a "
            "configuration of the node; give another with --config"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        where = f"; {error}" if isinstance(error, tomllib.TOMLDecodeError) else ""
        raise UsageError(
            f"{path}: found text that is no TOML{where}; expected KEY = VALUE; correct it"
        ) from None
    return parse_config(values, str(path))


def parse_config(values: dict[str, Any], name: str) -> NodeConfig:
    """Check the values of a configuration.

    Raises
    ------
    UsageError
        As :func:`load_config`.
    """
    try:
        return NodeConfig.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(_fault(dict(e)) for e in error.errors())
        raise UsageError(f"{name}: {faults}; see docs/reference/node.md") from None


def _fault(error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "the file"
    if error["type"] == "extra_forbidden":
        return f"{where}: found a key that is not known"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}"


def with_flags(path: Path | None, flags: dict[str, Any]) -> NodeConfig:
    """Return a configuration with the command's options over it.

    Parameters
    ----------
    path
        TOML; None to begin with what is usual.
    flags
        ``ae_title``, ``host``, ``port``, ``page_port``, ``state``, ``allow`` (``TITLE@ADDRESS``) and ``send_to``
        (``TITLE@HOST:PORT``); None or empty where not given.

    Raises
    ------
    UsageError
        As :func:`load_config`, and for an option that cannot be used.
    """
    values = load_config(path).model_dump(mode="json", exclude_none=True) if path is not None else {}
    listen, page = values.setdefault("listen", {}), values.setdefault("page", {})
    for name in ("ae_title", "host", "port"):
        if flags[name] is not None:
            listen[name] = flags[name]
    if flags["page_port"] is not None:
        page["port"] = flags["page_port"]
    if flags["state"] is not None:
        values["state"] = str(flags["state"])
    for text in flags["allow"]:
        title, at, address = text.partition("@")
        if not (at and title and address):
            raise UsageError(f"--allow: found {text!r}; expected TITLE@ADDRESS, such as PACS@10.1.2.3")
        peer = {"ae_title": title, "addresses": [address], "worklist": True}
        values.setdefault("peers", []).append(peer)
    if flags["send_to"] is not None:
        values.setdefault("destinations", []).append(_archive(flags["send_to"]))
    return parse_config(values, str(path) if path is not None else "the options")


def _archive(text: str) -> dict[str, Any]:
    title, _, place = text.partition("@")
    host, _, port = place.rpartition(":")
    if not (title and host and port.isdecimal()):
        raise UsageError(f"--send-to: found {text!r}; expected TITLE@HOST:PORT, such as PACS@10.1.2.3:104")
    return {
        "name": "archive",
        "type": "dicom",
        "ae_title": title,
        "host": host.strip("[]"),
        "port": int(port),
    }
