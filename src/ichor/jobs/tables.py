"""The tables of one database. Nothing in them names, dates or identifies a patient, but ``identity``.

``identity`` is filled only where the server was asked to show whose studies they are (``--show-identity``), is read by
no export, event or log, and is emptied when a server starts that was not asked.

``verdict`` and ``session`` are the page's alone, ``delivery`` is the node's; they stand here because one line of
migrations makes all tables.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import JSON, Column, Float, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

__all__ = [
    "ClockReading",
    "Delivery",
    "Event",
    "Job",
    "Session",
    "StoredFindings",
    "StoredIdentity",
    "Study",
    "Verdict",
]


class Job(SQLModel, table=True):
    """One input of an upload, to be read: the queue.

    Attributes
    ----------
    seq
        Order of arrival.
    upload, number
        Random id of the upload, and which of its inputs this is: completing an upload twice gives its jobs once.
    input
        Name within the upload's folder, given by the server.
    arrived
        Seconds since 1970, UTC, as every time here.
    turn
        Jobs are taken in this order; one that ended its worker goes behind all others.
    state
        ``queued``, ``leased`` or ``done``.
    leased_by, lease_until
        Which worker has it, and until when without word from it.
    attempts
        Leases since something of it was last finished.
    at_part
        The part that is being assessed: if the worker dies of it, the others still get their turn.
    dropped
        Parts deleted before they were done.
    alias
        What the user calls it.
    reading
        How it is read where the rules do not say it: ``series``, the hashed UID of the one asked for; or ``stack``, how
        its pictures lie in one exam (:class:`ichor.detecting.PictureStack`).
    """

    __tablename__: ClassVar[Any] = "job"
    __table_args__: ClassVar[Any] = (UniqueConstraint("upload", "number"), {"sqlite_autoincrement": True})

    seq: int | None = Field(default=None, primary_key=True)
    upload: str = Field(sa_column=Column(String(32), nullable=False))
    number: int = 0
    input: str = Field(default="", sa_column=Column(String(40), nullable=False))
    arrived: float = Field(sa_column=Column(Float(53), nullable=False))
    turn: int = Field(default=0, sa_column=Column(Integer, nullable=False, index=True))
    state: str = Field(default="queued", sa_column=Column(String(8), nullable=False, index=True))
    leased_by: str | None = Field(default=None, sa_column=Column(String(32)))
    lease_until: float | None = Field(default=None, sa_column=Column(Float(53)))
    attempts: int = 0
    at_part: int | None = None
    dropped: list[int] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    alias: str | None = Field(default=None, sa_column=Column(String(80)))
    reading: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))


class Study(SQLModel, table=True):
    """One row of the worklist.

    Attributes
    ----------
    id
        Random.
    job, part
        Which result of which job: found again when a job is taken up a second time.
    state
        ``queued``, ``reading``, ``detecting``, ``ready`` or ``refused``.
    content
        Hash of what was assessed and of the model: the same again is recognised.
    study_uid, series_uid
        Hashed.
    started, finished
        When it was taken up, and when done.
    cautions
        Codes of notices that put the result in doubt (:data:`ichor.notices.CAUTIONS`).
    series
        Of a refused study: what may be assessed instead (:class:`ichor.jobs.offers.Offer`). As long as it has any, its
        upload is kept.
    subtypes
        The one or two to name: ``label`` and ``trusted``, most probable first; none where the type is not determined.
    """

    __tablename__: ClassVar[Any] = "study"
    __table_args__: ClassVar[Any] = (UniqueConstraint("job", "part"),)

    id: str = Field(sa_column=Column(String(32), primary_key=True))
    job: int = Field(sa_column=Column(Integer, ForeignKey("job.seq"), nullable=False, index=True))
    part: int = 0
    arrived: float = Field(sa_column=Column(Float(53), nullable=False, index=True))
    state: str = Field(default="queued", sa_column=Column(String(9), nullable=False, index=True))
    label: str = Field(sa_column=Column(String(16), nullable=False))
    alias: str | None = Field(default=None, sa_column=Column(String(80)))
    kind: str | None = Field(default=None, sa_column=Column(String(8)))
    content: str | None = Field(default=None, sa_column=Column(String(64), index=True))
    study_uid: str | None = Field(default=None, sa_column=Column(String(64), index=True))
    series_uid: str | None = Field(default=None, sa_column=Column(String(64), index=True))
    started: float | None = Field(default=None, sa_column=Column(Float(53)))
    finished: float | None = Field(default=None, sa_column=Column(Float(53)))
    n_slices: int | None = None
    probability: float | None = Field(default=None, sa_column=Column(Float(53)))
    flagged: bool = False
    uncertain: bool | None = None
    probabilities: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    positive: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    volume_ml: float | None = Field(default=None, sa_column=Column(Float(53)))
    warnings_n: int = 0
    cautions: list[str] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    subtypes: list[dict[str, Any]] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    refusal_code: str | None = Field(default=None, sa_column=Column(String(40)))
    refusal_message: str | None = Field(default=None, sa_column=Column(Text))
    series: list[dict[str, Any]] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    duplicate_of: str | None = Field(default=None, sa_column=Column(String(32), index=True))
    read_by: str | None = Field(default=None, sa_column=Column(String(80)))
    read_at: float | None = Field(default=None, sa_column=Column(Float(53)))
    verdict: str | None = Field(default=None, sa_column=Column(String(8)))


class StoredFindings(SQLModel, table=True):
    """Findings of a study, written in one transaction with the study's new state.

    Attributes
    ----------
    findings
        ``ichor.findings/1`` as text.
    display
        How the kept volume stands to the native slices (:class:`ichor.jobs.display.Display`).
    """

    __tablename__: ClassVar[Any] = "findings"

    study: str = Field(sa_column=Column(String(32), ForeignKey("study.id"), primary_key=True))
    findings: str = Field(sa_column=Column(Text, nullable=False))
    display: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))


class StoredIdentity(SQLModel, table=True):
    """Whose study it is, as the header says: see :class:`ichor.reading.patient_identity.PatientIdentity`."""

    __tablename__: ClassVar[Any] = "identity"

    study: str = Field(sa_column=Column(String(32), ForeignKey("study.id"), primary_key=True))
    name: str = Field(default="", sa_column=Column(Text, nullable=False))
    patient_id: str = Field(default="", sa_column=Column(Text, nullable=False, index=True))
    accession: str = Field(default="", sa_column=Column(Text, nullable=False))
    date: str = Field(default="", sa_column=Column(Text, nullable=False))
    description: str = Field(default="", sa_column=Column(Text, nullable=False))


class Verdict(SQLModel, table=True):
    """A reader's verdict on a study: one a reader and study, the last."""

    __tablename__: ClassVar[Any] = "verdict"

    study: str = Field(sa_column=Column(String(32), ForeignKey("study.id"), primary_key=True))
    reader: str = Field(sa_column=Column(String(80), primary_key=True))
    verdict: str = Field(sa_column=Column(String(8), nullable=False))
    labels: dict[str, bool] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    note: str = Field(default="", sa_column=Column(Text, nullable=False))
    at: float = Field(sa_column=Column(Float(53), nullable=False))


class Event(SQLModel, table=True):
    """That something of a study changed; what it now is stands in its own row."""

    __tablename__: ClassVar[Any] = "event"
    __table_args__: ClassVar[Any] = {"sqlite_autoincrement": True}

    id: int | None = Field(default=None, primary_key=True)
    kind: str = Field(sa_column=Column(String(8), nullable=False))
    study: str = Field(sa_column=Column(String(32), nullable=False))
    at: float = Field(sa_column=Column(Float(53), nullable=False))


class Session(SQLModel, table=True):
    """A browser that has logged in.

    Attributes
    ----------
    hash
        Of its cookie.
    user
        Whose it is; empty for the bearer of the token.
    credential
        Hash of the password hash or token that gave it: once that is changed or taken away, the session is over.
    """

    __tablename__: ClassVar[Any] = "session"

    hash: str = Field(sa_column=Column(String(64), primary_key=True))
    user: str = Field(sa_column=Column(String(80), nullable=False))
    credential: str = Field(sa_column=Column(String(64), nullable=False))
    expires: float = Field(sa_column=Column(Float(53), nullable=False))


class ClockReading(SQLModel, table=True):
    """The wall clock as the server last saw it, in one row: at a start, a clock that was set is recognised by it."""

    __tablename__: ClassVar[Any] = "clock"

    id: int = Field(default=1, primary_key=True)
    seen: float = Field(sa_column=Column(Float(53), nullable=False))


class Delivery(SQLModel, table=True):
    """That results of a study, or a series that is forwarded, are to go to a destination.

    Attributes
    ----------
    upload, study
        Whose; ``study`` is null for what is forwarded. Neither refers to a row: a study may be deleted meanwhile.
    destination
        Its name in the node's configuration.
    state
        ``waiting``, ``committing`` (sent, the archive's word is awaited), ``delivered``, ``given_up`` or ``withdrawn``.
    attempts, next_at
        Failures so far, and when it is tried next.
    transaction_uid
        Of the request for storage commitment.
    error
        A word of ours for the last failure.
    """

    __tablename__: ClassVar[Any] = "delivery"
    __table_args__: ClassVar[Any] = (UniqueConstraint("upload", "study", "destination"),)

    id: str = Field(sa_column=Column(String(32), primary_key=True))
    upload: str = Field(sa_column=Column(String(32), nullable=False, index=True))
    study: str | None = Field(default=None, sa_column=Column(String(32)))
    destination: str = Field(sa_column=Column(String(32), nullable=False))
    state: str = Field(default="waiting", sa_column=Column(String(10), nullable=False, index=True))
    attempts: int = 0
    created: float = Field(sa_column=Column(Float(53), nullable=False))
    next_at: float = Field(sa_column=Column(Float(53), nullable=False))
    finished: float | None = Field(default=None, sa_column=Column(Float(53)))
    transaction_uid: str | None = Field(default=None, sa_column=Column(String(64)))
    error: str | None = Field(default=None, sa_column=Column(String(40)))
