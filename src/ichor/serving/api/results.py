"""What was found in a study, and what is kept of it to look at."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ichor.findings import Findings
from ichor.jobs.tables import StoredFindings
from ichor.jobs.volumes import read_plane
from ichor.preparing import WINDOWS
from ichor.serving import schemas
from ichor.serving.api.studies import found
from ichor.serving.errors import ApiError, problems
from ichor.serving.state import Id, Server, ServerState

__all__ = ["router"]

router = APIRouter(tags=["results"])

_OUTLINE = (255, 176, 0)
_PROBLEMS = problems(401, 403, 404, 409, 422)
_LATER = ("report.html", "overlays.zip")
"""Written after the study is ready."""
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; base-uri 'none'; "
    "form-action 'none'; sandbox allow-same-origin allow-modals"
)
"""The report is one file with its style within it, and no script."""


def _file(kind: str, description: str) -> dict[int | str, dict[str, Any]]:
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"content": {kind: schema}, "description": description}, **_PROBLEMS}


@router.get("/studies/{study}/findings", responses=_PROBLEMS, response_model=Findings)
def get_findings(study: Id, server: ServerState) -> Response:
    """Give the findings (`ichor.findings/1`) of a study that is ready, or was refused after it was read."""
    return Response(_stored(server, study).findings, media_type="application/json")


@router.get("/studies/{study}/slices", responses=_PROBLEMS)
def get_slices(study: Id, server: ServerState) -> schemas.Slices:
    """Give probabilities by slice, with each slice's place in the shown volume."""
    stored = _stored(server, study)
    display = schemas.Display.model_validate(stored.display)
    shown: dict[int, list[int]] = {}
    for k, native in enumerate(display.source):
        if native is not None:
            shown.setdefault(native, []).append(k)
    rows = [
        schemas.SliceRow(
            index=s.index,
            display=places[len(places) // 2] if (places := shown.get(s.index)) else None,
            position_mm=s.position_mm,
            probabilities=s.probabilities,
        )
        for s in Findings.model_validate_json(stored.findings).slices
    ]
    return schemas.Slices(display=display, slices=rows)


@router.get(
    "/studies/{study}/volume.nii.gz",
    responses=_file("application/gzip", "int16 HU, gzipped NIfTI"),
    response_class=FileResponse,
)
def get_volume(study: Id, server: ServerState) -> FileResponse:
    """Give the volume as it is shown: upright, rectangular and even, tilt undone; a picture as one slice."""
    return _kept(server, study, "volume.nii.gz", "application/gzip")


@router.get(
    "/studies/{study}/mask.nii.gz",
    responses=_file("application/gzip", "uint8 region numbers, gzipped NIfTI"),
    response_class=FileResponse,
)
def get_mask(study: Id, server: ServerState) -> FileResponse:
    """Give the regions on the grid of the shown volume: 0, or the number of the region in the findings, from 1."""
    return _kept(server, study, "mask.nii.gz", "application/gzip")


@router.get(
    "/studies/{study}/mask-native.nii.gz",
    responses=_file("application/gzip", "uint8 region numbers, gzipped NIfTI"),
    response_class=FileResponse,
)
def get_native_mask(study: Id, server: ServerState) -> FileResponse:
    """Give the regions aligned with what was sent, as `ichor detect --write nifti` does. A picture has none."""
    return _kept(server, study, "mask-native.nii.gz", "application/gzip")


@router.get(
    "/studies/{study}/heat.nii.gz",
    responses=_file("application/gzip", "uint8 warmth, gzipped NIfTI"),
    response_class=FileResponse,
)
def get_heat(study: Id, server: ServerState) -> FileResponse:
    """Give the network's heat map over the shown volume, coarser in the plane: 255 where it is highest.

    It is no outline. There is one only where hemorrhage is suspected and nothing is outlined; of a model that draws no
    map it is Grad-CAM, and the findings bear the notice `grad_cam`.
    """
    return _kept(server, study, "heat.nii.gz", "application/gzip")


@router.get(
    "/studies/{study}/picture.png",
    responses=_file("image/png", "8-bit grey PNG"),
    response_class=FileResponse,
)
def get_picture(study: Id, server: ServerState) -> FileResponse:
    """Give a picture's slice as it was assessed: cut out, flattened, evened. An exam has none."""
    return _kept(server, study, "picture.png", "image/png")


@router.get(
    "/studies/{study}/thumbnail.png",
    responses=_file("image/png", "8-bit grey PNG"),
    response_class=FileResponse,
)
def get_thumbnail(study: Id, server: ServerState) -> FileResponse:
    """Give the slice to look at first, small, in the brain window."""
    return _kept(server, study, "thumbnail.png", "image/png")


@router.get(
    "/studies/{study}/report.html",
    responses=_file("text/html", "one page, no script"),
    response_class=FileResponse,
)
def get_report(study: Id, server: ServerState) -> FileResponse:
    """Give the report as `ichor detect` writes it. For a PDF, print it."""
    response = _kept(server, study, "report.html", "text/html")
    response.headers["Content-Security-Policy"] = _REPORT_POLICY
    return response


@router.get(
    "/studies/{study}/overlays.zip",
    responses=_file("application/zip", "zip of PNG"),
    response_class=FileResponse,
)
def get_overlays(study: Id, server: ServerState) -> FileResponse:
    """Give the suspicious slices with their regions outlined; an empty zip where no slice is."""
    return _kept(server, study, "overlays.zip", "application/zip")


@router.get(
    "/studies/{study}/slices/{index}.png",
    responses=_file("image/png", "PNG of one slice"),
    response_class=Response,
)
def get_slice(
    study: Id,
    index: int,
    server: ServerState,
    window: Annotated[Literal["brain", "subdural", "bone", "wide"], Query()] = "brain",
    mask: Annotated[bool, Query(description="whether regions are outlined")] = False,
) -> Response:
    """Give one native slice, upright, in a window."""
    stored = _stored(server, study)
    source = schemas.Display.model_validate(stored.display).source
    shown = [k for k, native in enumerate(source) if native == index]
    if not shown or index < 0:
        raise ApiError(404, "Found no slice of this index in what is shown.")
    place = shown[len(shown) // 2]
    folder = _folder(server, study)
    try:
        hu = read_plane(folder / "volume.nii.gz", place)
        grey = WINDOWS[window].to_grey(hu)
        regions = folder / "mask.nii.gz"
        drawn = _outlined(grey, read_plane(regions, place)) if mask and regions.exists() else grey
    except FileNotFoundError:
        raise _gone() from None
    stream = io.BytesIO()
    Image.fromarray(drawn).save(stream, "PNG", compress_level=1)
    return Response(stream.getvalue(), media_type="image/png")


def _outlined(grey: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw a line of one pixel around each region, outside of it, so that nothing of it is hidden."""
    inside = mask > 0
    rgb = np.repeat(grey[..., None], 3, axis=2)
    rgb[ndimage.binary_dilation(inside) & ~inside] = _OUTLINE
    return rgb


def _stored(server: Server, study: str) -> StoredFindings:
    """Return the stored findings of a study.

    Raises
    ------
    ApiError
        404 without such a study, or where it was refused before it was read; 409 while it is not done.
    """
    stored = server.worklist.stored_findings(study)
    if stored is not None:
        return stored
    state = found(server, study).study.state
    if state in ("queued", "reading", "detecting"):
        raise ApiError(
            409, f"Found the study {state}; expected it to be ready; wait for its event.", code="not_done"
        )
    raise ApiError(
        404, "Found a study that could not be read; nothing is kept of it but the reason.", code="refused"
    )


def _folder(server: Server, study: str) -> Path:
    return server.storage.study(_first(server, study))


def _first(server: Server, study: str) -> str:
    """Return the study whose files these are: of a duplicate, the one that was there before."""
    row = found(server, study).study
    return row.duplicate_of or row.id


def _kept(server: Server, study: str, name: str, kind: str) -> FileResponse:
    _stored(server, study)
    path = _folder(server, study) / name
    if not path.is_file():
        if name in _LATER and server.worklist.is_pending(_first(server, study)):
            message = "Found that the report is being written; ask again in a second."
            raise ApiError(409, message, code="not_done", headers={"Retry-After": "1"})
        raise _gone()
    return FileResponse(path, media_type=kind)


def _gone() -> ApiError:
    return ApiError(
        404,
        "Found that this study has no such file; a picture has no native mask, an exam no picture, what a model that "
        "says whether, not where, has assessed no mask, and a heat map is there only where nothing could be outlined.",
    )
