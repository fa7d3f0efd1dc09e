"""``ichor data prepare``: a data set on a recipe's grid, as shards that training reads where they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ichor.cli.bulk import Address, Token, carry_out
from ichor.errors import UsageError

__all__ = ["prepare"]


def prepare(
    name: Annotated[str, typer.Argument(help="A data set's name, or folder:PATH, or csv:PATH.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Folder for the rows.")],
    folder: Annotated[Path, typer.Option("--data", help="Folder with one sub-folder a data set.")] = Path(
        "data"
    ),
    recipe: Annotated[
        str, typer.Option(help="A recipe of the package or a YAML file: gives the grid.")
    ] = "default",
    shards: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Where the shards go: a folder that every machine sees (by default OUT/shards) or s3://bucket/prefix; "
            "ichor train --shards takes the same.",
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Processes on this machine; by default one a core.")
    ] = None,
    address: Address = None,
    token: Token = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Prepare again what failed in an earlier run.")
    ] = False,
) -> None:
    """Bring a data set to a recipe's grid with many processes: a shard and a row an exam.

    What has a row is not prepared again: an interrupted run goes on when it is started again. Exit status: 0 all is
    prepared or refused, and the index is written; 2 bad usage; 3 at least one exam failed, and there is no index; 130
    interrupted.
    """
    from ichor.bulk import check_installed

    check_installed()
    if address is not None and jobs is not None:
        raise UsageError("found both --address and --jobs; expected one of them; leave one out")
    try:
        from ichor.training.recipe import load_store_grid
    except ImportError as error:
        raise UsageError(
            f"data prepare: found no {error.name}, which reads recipes; expected the extra 'train'; "
            "run pip install -e '.[train]' in the clone"
        ) from error
    from ichor.bulk.prepare_run import PreparePlan, prepare_dataset

    grid = load_store_grid(recipe, name)
    plan = PreparePlan(name, folder, grid, output, shards, jobs, address, token, retry_failed)
    carry_out(lambda show: (prepare_dataset(plan, show), {}))
