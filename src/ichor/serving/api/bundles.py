"""The bundles of the server: what they are, which is in use, and choosing another for the studies to come."""

from __future__ import annotations

import anyio.to_thread
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from ichor.detecting.manifest import Measured
from ichor.errors import UsageError
from ichor.jobs.bundles import OfferedBundle
from ichor.serving.errors import ApiError, problems
from ichor.serving.state import ServerState

__all__ = ["router"]

router = APIRouter(tags=["server"])


class ListedBundle(BaseModel):
    """A bundle: what its card states, and whether it may be chosen."""

    sha256: str = Field(description="of its manifest: what it is chosen by, and what findings name")
    name: str
    version: str
    description: str
    licence: str
    trained_on: list[str] = Field(description="names of the data sets that it states it learned from")
    calibrated: bool = Field(description="whether its scores are probabilities, and labels are called")
    measured: list[Measured] = Field(description="what was measured of it here")
    claimed: list[Measured] = Field(description="what its authors state; nothing here has measured it")
    restrictions: list[str]
    chosen: bool = Field(description="whether studies that are taken up now are assessed with it")
    reason: str | None = Field(description="why it cannot be chosen; null where it can")


class ListedBundles(BaseModel):
    """The bundles of the server."""

    items: list[ListedBundle]


class BundleChosen(BaseModel):
    """The bundle to use from now on."""

    model_config = ConfigDict(extra="forbid")

    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of one that is listed")


@router.get("/bundles", responses=problems(401, 403))
def list_bundles(server: ServerState) -> ListedBundles:
    """List the bundles of the server, the one in use marked."""
    chosen = server.bundles.chosen
    return ListedBundles(items=[_listed(one, one is chosen) for one in server.bundles.offered])


@router.put("/bundles/chosen", responses=problems(400, 401, 403, 404, 409, 422, 503, 507))
async def choose_bundle(asked: BundleChosen, server: ServerState) -> ListedBundles:
    """Choose the bundle for studies that are taken up from now on. Results that are there stay as they are.

    Answers 409 where it cannot be chosen, with the reason.
    """
    try:
        await anyio.to_thread.run_sync(server.bundles.choose, asked.sha256)
    except KeyError:
        raise ApiError(404, "Found no bundle of this hash; expected one that the server lists.") from None
    except UsageError as refused:
        raise ApiError(409, str(refused), code="not_choosable") from None
    return list_bundles(server)


def _listed(offered: OfferedBundle, chosen: bool) -> ListedBundle:
    card = offered.bundle.card
    return ListedBundle(
        sha256=card.sha256,
        name=card.name,
        version=card.version,
        description=card.description,
        licence=card.licence,
        trained_on=[one.name for one in card.trained_on],
        calibrated=card.calibrated,
        measured=list(card.measured),
        claimed=list(card.claimed),
        restrictions=list(card.restrictions),
        chosen=chosen,
        reason=offered.reason or None,
    )
