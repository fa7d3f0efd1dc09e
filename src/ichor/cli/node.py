"""``ichor node``: studies in by DICOM, results out, the reading list reordered."""

from __future__ import annotations

import sys
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ichor.errors import UsageError

if TYPE_CHECKING:
    from ichor.node.config import NodeConfig

__all__ = ["check_installed", "node"]

EXIT_REFUSED = 3


class Action(StrEnum):
    """What is to be done."""

    run = "run"
    check = "check"


def node(
    action: Annotated[
        Action, typer.Argument(help="run the node, or check: try once whomever it calls and print a table.")
    ] = Action.run,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The node's configuration (TOML).")
    ] = None,
    ae_title: Annotated[
        str | None, typer.Option(metavar="TITLE", help="Our AE title; by default ICHOR.")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Where DICOM listens; by default this machine alone."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="N", help="Where DICOM listens; by default 11112; 0 takes a free one."),
    ] = None,
    page_port: Annotated[
        int | None,
        typer.Option(metavar="N", help="Where the page listens; by default 8000; 0 takes a free one."),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="TITLE@ADDRESS", help="A peer that may send; may repeat."),
    ] = None,
    send_to: Annotated[
        str | None,
        typer.Option(metavar="TITLE@HOST:PORT", help="An archive that gets the results as DICOM objects."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the worklist; by default ~/.local/state/ichor/serve."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what the configuration would do, and end.")
    ] = False,
) -> None:
    """Take part in the hospital's DICOM: studies come in, results go back, urgent ones are listed first.

    Studies come by C-STORE, STOW-RS, a watched folder or the changes of an Orthanc; results go by C-STORE, STOW-RS,
    HL7, FHIR, as procedure steps (UPS) or to a webhook, as the configuration says.

    Nobody may send who is not named by --allow or in the configuration. Serves the page as well. Ctrl-C ends it, and
    what is queued or not yet delivered goes on at the next start.
    """
    check_installed()
    from ichor.node.config import with_flags

    flags: dict[str, Any] = {
        "ae_title": ae_title,
        "host": host,
        "port": port,
        "page_port": page_port,
        "allow": allow or [],
        "send_to": send_to,
        "state": state,
    }
    settings = with_flags(config, flags)
    if dry_run:
        from ichor.node.describing import described

        print(described(settings))
    elif action is Action.check:
        _check(settings)
    else:
        _run(settings)


def check_installed() -> None:
    """Refuse to go on without the packages of the extra.

    Raises
    ------
    UsageError
        Naming the first that is missing.
    """
    missing = [n for n in ("pynetdicom", "highdicom", "fastapi", "sqlmodel") if find_spec(n) is None]
    if missing:
        raise UsageError(
            f"found no {missing[0]}; expected the packages of the extra 'node'; install them, from the clone, "
            "with: pip install '.[node]'"
        )


def _check(settings: NodeConfig) -> None:
    from rich.console import Console
    from rich.table import Table

    from ichor.node.checking import check_all

    table = Table("destination", "what was tried", "result", "s", box=None, pad_edge=False)
    failed = False
    for row in check_all(settings):
        table.add_row(row.name, row.tried, row.result, f"{row.seconds:.2f}")
        failed = failed or not row.good
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=120)).print(table)
    if failed:
        raise typer.Exit(EXIT_REFUSED)


def _run(settings: NodeConfig) -> None:
    from ichor.node.node import Node
    from ichor.serving.passwords import read_token
    from ichor.serving.run import serve
    from ichor.serving.settings import Settings, default_state

    if not settings.peers and settings.listen.watch is None:
        print("ichor: no peer may send; name some with --allow or [[peers]]", file=sys.stderr)
    page = settings.page
    serving = Settings(
        state=settings.state or default_state(),
        host=page.host,
        port=page.port,
        bundles=(settings.bundle,),
        token=read_token(page.token_file) if page.token_file else None,
    )
    serve(serving, Node(settings))
