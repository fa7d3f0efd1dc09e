"""``ichor serve``: the worklist and its page."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ichor.errors import UsageError

__all__ = ["serve"]


def serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="Where to listen; 0 takes a free one.")] = 8000,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the worklist; by default ~/.local/state/ichor/serve."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="ICHOR_DATABASE",
            show_envvar=False,
            help="postgresql://USER:PASSWORD@HOST/NAME, or in the variable ICHOR_DATABASE; by default a SQLite file.",
        ),
    ] = None,
    bundle: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|PATH|A+B",
            help="A model to offer on the page, the first to begin with; may repeat; by default all installed ones.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask for the token in this file's first line.")
    ] = None,
    users: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask for a user and a password, as in this file.")
    ] = None,
    make_user: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Ask for a password, print the line for a file of users, and end."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further name under which people reach this server; may repeat."),
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="A proxy in front, or its network: X-Forwarded-For and -Proto are believed from it alone; may repeat.",
        ),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate (PEM), to serve https; with --key.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate's key (PEM).")] = None,
    keep_days: Annotated[
        float, typer.Option(metavar="N", help="Days after which a study is deleted; 0 for never.")
    ] = 30.0,
    keep_originals: Annotated[
        bool, typer.Option("--keep-originals", help="Keep uploaded files as long as their studies.")
    ] = False,
    show_identity: Annotated[
        bool,
        typer.Option(
            "--show-identity",
            help="Show name, ID, accession number, date and description on the page; on this machine alone, or to "
            "whoever has logged in.",
        ),
    ] = False,
    node: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Run a node beside the page, as in this configuration; state, page and bundle are as given here.",
        ),
    ] = None,
) -> None:
    """Serve the page: drag studies in, read them, the urgent ones first.

    Listens on this machine alone unless --host says otherwise, which needs --token-file or --users. Prints its
    address; Ctrl-C ends it, and what is queued goes on at the next start.
    """
    missing = [name for name in ("fastapi", "uvicorn", "sqlmodel", "alembic") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"found no {missing[0]}; expected the packages of the extra 'serve'; install them, from the clone, "
            "with: pip install '.[serve]'"
        )
    from ichor.serving.passwords import check_name, hash_password, read_token, read_users
    from ichor.serving.settings import Settings, default_state

    if make_user is not None:
        name = check_name(make_user)
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        print(f"{name}:{hash_password(password)}")
        return
    settings = Settings(
        state=state or default_state(),
        host=host,
        port=port,
        database=database or "",
        bundles=tuple(bundle or ()),
        token=read_token(token_file) if token_file else None,
        users=read_users(users) if users else {},
        hosts=tuple(allow_host or ()),
        trusted_proxies=tuple(trusted_proxy or ()),
        keep_days=keep_days,
        keep_originals=keep_originals,
        show_identity=show_identity,
        certificate=certificate,
        key=key,
    )
    from ichor.serving.run import serve as run

    if node is None:
        run(settings)
        return
    from ichor.cli.node import check_installed

    check_installed()
    from ichor.node.config import load_config
    from ichor.node.node import Node

    run(settings, Node(load_config(node)))
