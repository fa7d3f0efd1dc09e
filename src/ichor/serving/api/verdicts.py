"""Readers' verdicts on studies, and their export as a data set."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse

from ichor.jobs.tables import Verdict
from ichor.serving import schemas
from ichor.serving.access import Person
from ichor.serving.api.studies import found
from ichor.serving.errors import ApiError, problems
from ichor.serving.export import stream_dataset, verdicts_csv
from ichor.serving.state import CurrentUser, Id, Server, ServerState

__all__ = ["router"]

router = APIRouter(tags=["verdicts"])

_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get("/studies/{study}/verdicts", responses=problems(401, 403, 404, 422))
def get_verdicts(study: Id, server: ServerState) -> list[schemas.Verdict]:
    """Give readers' verdicts on a study: the last of each, in order of time."""
    found(server, study)
    return [schemas.Verdict.of(v) for _, v in server.worklist.verdicts(study)]


@router.put("/studies/{study}/verdict", responses=problems(400, 401, 403, 404, 409, 422))
def set_verdict(
    study: Id, given: schemas.VerdictPut, server: ServerState, person: CurrentUser
) -> schemas.Study:
    """Give one's verdict. It marks the study as read; giving it again replaces one's own."""
    row = found(server, study)
    if row.study.duplicate_of:
        raise ApiError(409, "Found a duplicate; give it on the study that it points at.", code="duplicate")
    if row.study.state not in ("ready", "refused"):
        raise ApiError(409, "Found a study that is not done; wait for its event.", code="not_done")
    reader = _signed(server, person, given.reader)
    marked = None if given.labels is None else given.labels.model_dump(exclude_none=True)
    verdict = Verdict(
        study=study,
        reader=reader,
        verdict=given.verdict,
        labels=marked,
        note=given.note,
        at=time.time(),
    )
    if not server.worklist.set_verdict(verdict):
        raise ApiError(404, "Found no such study; it was deleted.")
    return schemas.Study.of(found(server, study))


@router.delete("/studies/{study}/verdict", responses=problems(401, 403, 404, 422))
def clear_verdict(
    study: Id,
    server: ServerState,
    person: CurrentUser,
    reader: Annotated[
        str | None, Query(max_length=80, pattern=schemas.NAME_PATTERN, description="only this reader's")
    ] = None,
) -> schemas.Study:
    """Take verdicts back: one's own; where nobody logs in by name, one reader's, or all.

    Without any, the study is unread again.
    """
    if person.name and reader not in (None, person.name):
        raise ApiError(403, "Found a verdict of another reader; expected one's own; ask that reader.")
    spared = () if person.name else tuple(server.settings.users)
    if reader is not None:
        reader = _signed(server, person, reader)
    if not server.worklist.clear_verdict(study, person.name or reader, spared):
        raise ApiError(404, "Found no such study; it was deleted, or never was.")
    return schemas.Study.of(found(server, study))


def _signed(server: Server, person: Person, reader: str) -> str:
    """Return under which name a verdict stands: a user's own; of others, any that is no user's.

    Raises
    ------
    ApiError
        403 where somebody without a login by name signs as a user.
    """
    if not person.name and server.access.is_users_name(reader):
        raise ApiError(403, "Found the name of a user; expected another; log in as that user to sign so.")
    return person.name or reader


@router.get("/verdicts.csv", responses={**_CSV, **problems(401, 403)}, response_class=Response)
def export_verdicts(server: ServerState) -> Response:
    """Give all verdicts as a table, with what the model found beside them."""
    headers = {"Content-Disposition": 'attachment; filename="ichor-verdicts.csv"'}
    return Response(verdicts_csv(server.worklist), media_type="text/csv", headers=headers)


@router.get("/dataset.zip", responses={**_ZIP, **problems(401, 403)}, response_class=StreamingResponse)
def export_dataset(server: ServerState) -> StreamingResponse:
    """Give the studies that were read, with the readers' labels, as a data set that ichor reads.

    Unpack it and use `--dataset csv:labels.csv`.
    """
    headers = {"Content-Disposition": 'attachment; filename="ichor-dataset.zip"'}
    stream = stream_dataset(server.worklist, server.storage)
    return StreamingResponse(stream, media_type="application/zip", headers=headers)
