"""The worklist and its rows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from ichor.serving import schemas
from ichor.serving.errors import ApiError, problems
from ichor.serving.state import Id, Server, ServerState
from ichor.serving.worklist import WorklistQuery, WorklistRow

__all__ = ["found", "router"]

router = APIRouter(tags=["studies"])


@router.get("/studies", responses=problems(401, 403, 422))
def list_studies(
    server: ServerState,
    state: Annotated[list[schemas.State] | None, Query(description="in one of these states")] = None,
    q: Annotated[
        str,
        Query(
            max_length=200,
            description="in the label, alias or reader; or a study or series UID, hashed or not",
        ),
    ] = "",
    flagged: Annotated[bool | None, Query(description="whether hemorrhage is suspected")] = None,
    verdict: Annotated[schemas.VerdictWord | None, Query(description="what the reader says")] = None,
    read: Annotated[bool | None, Query(description="whether somebody has read it")] = None,
    duplicates: Annotated[bool, Query(description="also rows of studies that were there before")] = False,
    unread_first: Annotated[bool, Query(description="read studies after all others")] = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    offset: Annotated[int, Query(ge=0, le=1 << 31)] = 0,
) -> schemas.StudyList:
    """List studies in worklist order: flagged and unread ones first, the most probable at the top; then by arrival."""
    query = WorklistQuery(
        state=tuple(state or ()),
        q=q,
        flagged=flagged,
        verdict=verdict,
        read=read,
        duplicates=duplicates,
        unread_first=unread_first,
    )
    total, rows = server.worklist.rows(query, limit, offset)
    return schemas.StudyList(total=total, items=[schemas.Study.of(row) for row in rows])


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


def _absent() -> ApiError:
    return ApiError(404, "Found no such study; it was deleted, or never was.")
