"""What the API takes and gives, besides findings."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ichor.findings import LabelFlags, LabelValues
from ichor.jobs.tables import Study as Row
from ichor.jobs.tables import Verdict as VerdictRow
from ichor.serving.worklist import WorklistRow

__all__ = [
    "NAME_PATTERN",
    "TEXT_PATTERN",
    "Credentials",
    "Display",
    "Identities",
    "Identity",
    "NamedSubtype",
    "OfferedSeries",
    "PatientIdentity",
    "Prior",
    "Received",
    "Refusal",
    "SeriesChoice",
    "SliceRow",
    "Slices",
    "Stack",
    "State",
    "Study",
    "StudyIdentity",
    "StudyList",
    "StudyPatch",
    "Submitted",
    "Upload",
    "UploadFile",
    "UploadPlan",
    "UploadPlanFile",
    "Verdict",
    "VerdictPut",
    "utc",
]

State = Literal["queued", "reading", "detecting", "ready", "refused"]
VerdictWord = Literal["agree", "disagree"]
TEXT_PATTERN = r"^[^\x00]*$"
"""Databases take no NUL in a text, or end it there."""
NAME_PATTERN = r"^[^\x00-\x1f\x7f]*$"
Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=80, pattern=NAME_PATTERN)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


def utc(seconds: float | None) -> datetime | None:
    """Return a time of the database as a moment in UTC."""
    return None if seconds is None else datetime.fromtimestamp(round(seconds, 3), UTC)


# -- uploads -------------------------------------------------------------------------------------------


class UploadPlanFile(_In):
    """One file that will be sent."""

    path: str = Field(min_length=1, max_length=1024, description="as the sender knows it; only grouped by")
    size: int = Field(ge=0, le=1 << 53, description="bytes")


class Stack(_In):
    """How the pictures of an upload lie in one exam."""

    step_mm: float = Field(
        gt=0, le=20, description="from one picture to the next, in the order of their names"
    )
    spacing_mm: float | None = Field(
        default=None, gt=0, le=20, description="between pixels; without it, no volume is given"
    )
    top_first: bool = Field(default=False, description="whether the first picture is the highest")


class UploadPlan(_In):
    """What will be sent."""

    files: list[UploadPlanFile] = Field(min_length=1)
    alias: Name | None = Field(
        default=None, description="what to call its studies in the list; no patient's name"
    )
    stack: Stack | None = Field(default=None, description="take its pictures as the slices of one exam")


class UploadFile(BaseModel):
    """How far one file has come."""

    index: int
    path: str
    size: int
    received: int = Field(description="bytes that are there; go on from here")


class Upload(BaseModel):
    """An upload under way."""

    id: str
    files: list[UploadFile]


class Received(BaseModel):
    """How far one file has come."""

    received: int


class Refusal(BaseModel):
    """Why a study was not assessed."""

    code: str
    message: str


class OfferedSeries(BaseModel):
    """A series of a refused study."""

    series: str = Field(description="its UID, hashed")
    images: int
    kernel: str
    thickness: str
    picture: bool = Field(description="whether it has a picture, and may be assessed")
    reason: str = Field(description="why not, else empty")


class SeriesChoice(_In):
    """Which series of a refused study is to be assessed."""

    series: str = Field(
        max_length=64, pattern=TEXT_PATTERN, description="its UID, hashed, as the study offers it"
    )


class NamedSubtype(BaseModel):
    """A subtype to name."""

    label: str
    trusted: bool = Field(description="whether the model was measured on enough patients with it")


class Study(BaseModel):
    """One row of the worklist."""

    id: str
    label: str = Field(description="eight letters and digits, the same from arrival on; or the user's alias")
    alias: str | None
    kind: Literal["exam", "picture"] | None
    state: State
    place: int | None = Field(description="in the whole worklist, from 1; null for a duplicate")
    arrived: datetime
    waited_s: float = Field(description="from arrival until it was taken up, or until now")
    took_s: float | None = Field(description="from being taken up until done, or until now")
    n_slices: int | None
    probability: float | None = Field(description="of any hemorrhage")
    flagged: bool = Field(description="whether hemorrhage is suspected")
    uncertain: bool | None
    probabilities: LabelValues | None
    positive: LabelFlags | None
    subtypes: list[NamedSubtype] | None = Field(
        description="the one or two likely ones; empty: not determined; null: nothing was assessed"
    )
    volume_ml: float | None
    warnings_n: int
    cautions: list[str] = Field(description="codes of the notices that put the result in doubt")
    refusal: Refusal | None
    series: list[OfferedSeries] = Field(description="of a refused study: what may be assessed instead")
    read_by: str | None
    read_at: datetime | None
    verdict: VerdictWord | None
    duplicate_of: str | None = Field(description="id of the same study, assessed before")

    @classmethod
    def of(cls, entry: WorklistRow) -> Study:
        """Make one from a row."""
        row: Row = entry.study
        now = time.time()
        done = row.finished or now
        refusal = None
        if row.state == "refused":
            refusal = Refusal(code=row.refusal_code or "not_assessed", message=row.refusal_message or "")
        return cls.model_validate(
            {
                "id": row.id,
                "label": row.alias or row.label,
                "alias": row.alias,
                "kind": row.kind,
                "state": row.state,
                "place": entry.place,
                "arrived": utc(row.arrived),
                "waited_s": round(max(0.0, (row.started or now) - row.arrived), 2),
                "took_s": round(max(0.0, done - row.started), 2) if row.started else None,
                "n_slices": row.n_slices,
                "probability": row.probability,
                "flagged": row.flagged,
                "uncertain": row.uncertain,
                "probabilities": row.probabilities,
                "positive": row.positive,
                "subtypes": row.subtypes,
                "volume_ml": row.volume_ml,
                "warnings_n": row.warnings_n,
                "cautions": row.cautions or [],
                "refusal": refusal,
                "series": row.series or [],
                "read_by": row.read_by,
                "read_at": utc(row.read_at),
                "verdict": row.verdict,
                "duplicate_of": row.duplicate_of,
            }
        )


class Submitted(BaseModel):
    """What became of an upload. Further studies in it get rows of their own as they are found."""

    upload: str
    studies: list[Study]


class StudyList(BaseModel):
    """Rows of the worklist, in its order."""

    total: int = Field(description="rows that fit, of which some are here")
    items: list[Study]


class PatientIdentity(BaseModel):
    """Whose study it is, as its header says; empty where that does not say."""

    name: str
    patient_id: str
    accession: str
    date: str = Field(description="of the study, YYYY-MM-DD")
    description: str


class Prior(BaseModel):
    """An exam of the same patient that is not later."""

    id: str
    label: str
    date: str = Field(description="of the study, YYYY-MM-DD")


class StudyIdentity(BaseModel):
    """Whose study it is, and what else of the patient is in the worklist."""

    identity: PatientIdentity
    priors: list[Prior] = Field(
        description="assessed exams with the same patient ID and name that are not later, the latest first"
    )


class Identities(BaseModel):
    """Whose studies they are."""

    items: dict[str, PatientIdentity] = Field(
        description="by the study's id; without those that are not known"
    )


class StudyPatch(_In):
    """What a user may change of a row."""

    alias: Name | None = Field(description="what to call it in the list; null for its own label")


# -- what is shown -------------------------------------------------------------------------------------


class Display(BaseModel):
    """How the shown volume stands to the native slices."""

    shape: list[int] = Field(description="slices, rows, columns")
    spacing_mm: list[float] | None = Field(description="between slices, rows, columns; null where not known")
    source: list[int | None] = Field(
        description="native slice behind each shown one; null where nothing was measured"
    )
    orientation_known: bool = Field(
        default=True, description="whether left and right are known; where not, no side may be shown"
    )
    suspicious: int = Field(description="shown slice to look at first")
    instances: list[int | None] | None = Field(
        default=None, description="DICOM instance number of each native slice; null where there are none"
    )
    acquisition: dict[str, str] = Field(
        default={},
        description="`kernel` and `slice thickness` as the header has them; without what it does not say",
    )


class SliceRow(BaseModel):
    """One native slice."""

    index: int = Field(description="native, as in the findings")
    display: int | None = Field(description="its slice in the shown volume; null where that leaves it out")
    position_mm: float | None
    probabilities: LabelValues


class Slices(BaseModel):
    """Probabilities by slice, and where to find each in the shown volume."""

    display: Display
    slices: list[SliceRow]


# -- verdicts ------------------------------------------------------------------------------------------


class VerdictPut(_In):
    """A reader's verdict, to be kept."""

    reader: Name = Field(min_length=1, description="who; replaced by the user's name where users log in")
    verdict: VerdictWord
    labels: LabelFlags | None = Field(default=None, description="what the reader sees; null for left open")
    note: str = Field(default="", max_length=2000, pattern=TEXT_PATTERN)


class Verdict(BaseModel):
    """A reader's verdict."""

    reader: str
    verdict: VerdictWord
    labels: LabelFlags | None
    note: str
    at: datetime

    @classmethod
    def of(cls, row: VerdictRow) -> Verdict:
        """Make one from a row."""
        return cls.model_validate(
            {
                "reader": row.reader,
                "verdict": row.verdict,
                "labels": row.labels,
                "note": row.note,
                "at": utc(row.at),
            }
        )


# -- who -----------------------------------------------------------------------------------------------


class Credentials(_In):
    """What somebody shows: a token, or a user and a password."""

    token: str | None = Field(default=None, max_length=1000)
    user: str | None = Field(default=None, max_length=80)
    password: str | None = Field(default=None, max_length=1000)


class Identity(BaseModel):
    """Who is asking."""

    guarded: bool = Field(description="whether a login is needed here")
    methods: list[Literal["token", "password"]] = Field(description="what can be shown")
    logged_in: bool
    shows_identity: bool = Field(description="whether this server shows whose studies they are")
    user: str | None = Field(description="null for the bearer of a token, or where nobody is asked")
