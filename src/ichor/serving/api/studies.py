"""The worklist and its rows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from ichor.jobs import offers as choices
from ichor.serving import schemas
from ichor.serving.errors import ApiError, problems
from ichor.serving.state import Id, Server, ServerState
from ichor.serving.worklist import WorklistQuery, WorklistRow

__all__ = ["found", "router"]

router = APIRouter(tags=["studies"])


class ListQuery(BaseModel):
    """Which rows are asked for, and how many."""

    state: list[schemas.State] | None = Field(default=None, description="in one of these states")
    q: str = Field(
        default="",
        max_length=200,
        pattern=schemas.TEXT_PATTERN,
        description="in the label, alias or reader; or a study or series UID, hashed or not",
    )
    flagged: bool | None = Field(default=None, description="whether hemorrhage is suspected")
    verdict: schemas.VerdictWord | None = Field(default=None, description="what the reader says")
    read: bool | None = Field(default=None, description="whether somebody has read it")
    duplicates: bool = Field(default=False, description="also rows of studies that were there before")
    unread_first: bool = Field(default=False, description="read studies after all others")
    limit: int = Field(default=100, ge=1, le=500)
    offset: int = Field(default=0, ge=0, le=1 << 31)

    @property
    def query(self) -> WorklistQuery:
        """Which rows, and in which order."""
        chosen = self.model_dump(exclude={"limit", "offset", "state"})
        return WorklistQuery(state=tuple(self.state or ()), **chosen)


@router.get("/studies", responses=problems(401, 403, 422))
def list_studies(server: ServerState, asked: Annotated[ListQuery, Query()]) -> schemas.StudyList:
    """List studies in worklist order: flagged and unread ones first, the most probable at the top; then by arrival."""
    total, rows = server.worklist.rows(asked.query, asked.limit, asked.offset)
    return schemas.StudyList(total=total, items=[schemas.Study.of(row) for row in rows])


@router.get("/identities", responses=problems(401, 403, 404, 422))
def list_identities(server: ServerState, asked: Annotated[ListQuery, Query()]) -> schemas.Identities:
    """Say whose the studies are that `list_studies` gives for the same query; only with `--show-identity`."""
    _check_shown(server)
    _, rows = server.worklist.rows(asked.query, asked.limit, asked.offset)
    known = server.identities.of([row.study.id for row in rows])
    return schemas.Identities(
        items={study: schemas.PatientIdentity(**asdict(one)) for study, one in known.items()}
    )


@router.get("/studies/{study}/identity", responses=problems(401, 403, 404, 422))
def get_identity(study: Id, server: ServerState) -> schemas.StudyIdentity:
    """Say whose a study is, and which exams of the same patient are here; only with `--show-identity`."""
    _check_shown(server)
    identity = server.identities.of([found(server, study).study.id]).get(study)
    if identity is None:
        raise ApiError(404, "Found no header that says whose this study is.", code="not_known")
    priors = [
        schemas.Prior(id=row.id, label=row.alias or row.label, date=theirs.date)
        for row, theirs in server.identities.priors(study)
    ]
    return schemas.StudyIdentity(identity=schemas.PatientIdentity(**asdict(identity)), priors=priors)


@router.get("/studies/{study}", responses=problems(401, 403, 404, 422))
def get_study(study: Id, server: ServerState) -> schemas.Study:
    """Give one row."""
    return schemas.Study.of(found(server, study))


@router.patch("/studies/{study}", responses=problems(400, 401, 403, 404, 422))
def name_study(study: Id, patch: schemas.StudyPatch, server: ServerState) -> schemas.Study:
    """Give a study a name in the list, or take it away. No patient's name."""
    if not server.worklist.set_alias(study, patch.alias):
        raise _absent()
    return schemas.Study.of(found(server, study))


@router.post("/studies/{study}/series", status_code=202, responses=problems(400, 401, 403, 404, 409, 422))
def choose_series(study: Id, choice: schemas.SeriesChoice, server: ServerState) -> schemas.Study:
    """Have a refused study read from one of the series that it offers; it keeps its id and its code."""
    found(server, study)
    if not choices.choose_series(server.database, study, choice.series):
        message = "Found no such series among those that this study offers; expected one that has a picture."
        raise ApiError(409, message, code="not_offered")
    return schemas.Study.of(found(server, study))


@router.get(
    "/studies/{study}/series/{number}.png",
    responses={
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        **problems(401, 403, 404, 422),
    },
    response_class=FileResponse,
)
def get_series_picture(study: Id, number: int, server: ServerState) -> FileResponse:
    """Give the middle slice of a series that a refused study offers, by its place in the list, from 0."""
    offered = found(server, study).study.series or []
    path = server.storage.study(study) / choices.picture_name(number) if 0 <= number < len(offered) else None
    if path is None or not path.is_file():
        raise ApiError(404, "Found no picture of such a series.")
    return FileResponse(path, media_type="image/png")


@router.delete("/studies/{study}", status_code=204, responses=problems(401, 403, 404, 422))
def delete_study(study: Id, server: ServerState) -> Response:
    """Delete a study with all that is kept of it, its duplicates' rows, and its upload if nothing else is in it."""
    if not server.worklist.delete(study):
        raise _absent()
    return Response(status_code=204)


def found(server: Server, study: str) -> WorklistRow:
    """Return a row.

    Raises
    ------
    ApiError
        404 where there is none.
    """
    row = server.worklist.get(study)
    if row is None:
        raise _absent()
    return row


def _check_shown(server: Server) -> None:
    if not server.settings.show_identity:
        message = "Found a server that shows no identities; it must be started with --show-identity."
        raise ApiError(404, message, code="not_shown")


def _absent() -> ApiError:
    return ApiError(404, "Found no such study; it was deleted, or never was.")
