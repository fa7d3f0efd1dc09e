"""``ichor bulk``: an archive of any size, one row a study; and what is done with these rows."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ichor.cli.detect import Engine
from ichor.cli.verbosity import quiet
from ichor.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ichor.bulk.driver import Progress, Show
    from ichor.bulk.output import Output

__all__ = ["Address", "Token", "bulk", "carry_out"]

EXIT_NOT_ALL = 3
EXIT_INTERRUPTED = 130
_ACTIONS = {"check": 2, "compact": 1, "report": 1}
"""Words that may stand first, and how many paths follow."""
_EVERY_S = 30.0
"""Between two lines of progress where nobody sees a terminal."""

Address = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="A Ray cluster, instead of processes of this machine."),
]
Token = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The cluster's token; by default as RAY_AUTH_TOKEN_PATH names it."),
]


def bulk(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="ROOT | check OUT ROOT | compact OUT | report OUT",
            help="A folder, archive or file, s3://bucket/prefix or dicomweb+https://host/path, to be assessed; or what "
            "to do with an output: check that every study of ROOT has its row, compact its parts, report on its rows.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT", help="Folder for the rows.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", help="Processes on this machine, about 1 GB each; by default one a core."),
    ] = None,
    bundle: Annotated[str, typer.Option(metavar="NAME|PATH", help="The model.")] = "default",
    threshold: Annotated[float | None, typer.Option(metavar="X", help="As for ichor detect.")] = None,
    sensitivity: Annotated[float | None, typer.Option(metavar="X", help="As for ichor detect.")] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="As for ichor detect; may repeat.")
    ] = None,
    write: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIST", help="DICOM objects to make of each study, as for ichor detect: seg, sr, ..."
        ),
    ] = None,
    objects: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Where these objects go: a folder (by default OUT-objects, beside OUT), s3://bucket/prefix, or "
            "dicomweb+https://host/path (STOW-RS).",
        ),
    ] = None,
    engine: Annotated[Engine, typer.Option(help="As for ichor detect.")] = Engine.auto,
    address: Address = None,
    token: Token = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Assess again what failed in an earlier run.")
    ] = False,
) -> None:
    """Assess every study of an archive with many processes, and write one row a study as Parquet.

    What has a row is not assessed again: an interrupted run goes on when it is started again. Exit status: 0 every
    study has a row and none failed; 2 bad usage; 3 at least one failed, or its DICOM objects could not be stored; 130
    interrupted.
    """
    from ichor.bulk import check_installed

    action, paths = (words[0], words[1:]) if words[0] in _ACTIONS else ("", words)
    most = _ACTIONS.get(action, 1)
    if len(paths) != most:
        raise UsageError(
            f"bulk {action}".strip() + f": found {len(paths)} paths; expected {most}; see ichor bulk --help"
        )
    check_installed()
    if action:
        _act(action, paths)
        return
    if address is not None and jobs is not None:
        raise UsageError("found both --address and --jobs; expected one of them; leave one out")
    if output is None:
        raise UsageError("bulk: found no folder for the rows; expected -o OUT")
    from ichor.bulk.running import Plan
    from ichor.cli.detect import limits_of, result_kinds

    plan = Plan(
        root=paths[0],
        output=output,
        jobs=jobs,
        bundle=bundle,
        threshold=threshold,
        sensitivity=sensitivity,
        limits=limits_of(limit or []),
        kinds=result_kinds(write),
        objects=objects,
        engine=engine.value,
        retry_failed=retry_failed,
        address=address,
        token=token,
    )
    from ichor.bulk.running import run

    carry_out(lambda show: run(plan, show))


def carry_out(run: Callable[[Show], tuple[Progress, dict[str, int]]]) -> None:
    """Run a driver, show how far it is, and end with the status that its rows ask for."""
    show = _Show()
    try:
        progress, left_out = run(show)
    except KeyboardInterrupt:
        show.clear()
        print("ichor: interrupted; the same command goes on where it was", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    show.clear()
    if not quiet():
        print(_line(progress), file=sys.stderr)
        for what, count in left_out.items():
            print(f"left out: {count} {what}", file=sys.stderr)
        if progress.failed_before:
            text = "failed in an earlier run; --retry-failed tries them again"
            print(f"{progress.failed_before} {text}", file=sys.stderr)
        if progress.not_stored:
            text = "whose DICOM objects could not be stored; --retry-failed tries them again"
            print(f"{progress.not_stored} {text}", file=sys.stderr)
    if progress.states["failed"] or progress.failed_before or progress.not_stored:
        raise typer.Exit(EXIT_NOT_ALL)


class _Show:
    """A line that is renewed on a terminal; lines now and then elsewhere."""

    def __init__(self) -> None:
        from ichor.cli.progress import ProgressLine

        self._line = ProgressLine()
        self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Show how far a run is."""
        if sys.stderr.isatty():
            share = progress.done / progress.found if progress.found and progress.all_found else 0.0
            self._line(_line(progress), share)
        elif not quiet() and time.monotonic() - self._last >= _EVERY_S:
            self._last = time.monotonic()
            print(_line(progress), file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        self._line.clear()


def _line(progress: Progress) -> str:
    """Say in one line how far a run is."""
    so_far = "" if progress.all_found else " found so far"
    states = ", ".join(f"{count} {state}" for state, count in progress.states.items() if count)
    parts = [f"{progress.done} of {progress.found}{so_far}", f"new: {states or 'none'}"]
    if progress.new:
        parts.append(f"{60 * progress.rate:.1f} a minute")
    left = progress.seconds_left
    if left:
        parts.append(f"{int(left // 3600)}:{int(left // 60) % 60:02d}:{int(left) % 60:02d} left")
    return "; ".join(parts)


def _act(action: str, words: list[str]) -> None:
    """Do something with an output."""
    from ichor.bulk.output import Output

    output = Output(Path(words[0]))
    output.run()
    if action == "check":
        _check(output, words[1])
    elif action == "compact":
        from ichor.bulk.tending import compact

        with output.lock():
            before, after = compact(output)
        print(f"{before} parts before, {after} now")
    else:
        from ichor.bulk.page import write_report
        from ichor.bulk.summary import summarise

        for path in write_report(summarise(output), output):
            print(path)


def _check(output: Output, root: str) -> None:
    from ichor.bulk.opening import open_source
    from ichor.bulk.tending import check
    from ichor.reporting.words import printable

    found = check(output, open_source(root, skipped=output.folder))
    for what in ("missing", "changed", "failed", "gone"):
        for name in getattr(found, what):
            print(f"{what}: {printable(name)}")
    counts = (f"{len(getattr(found, what))} {what}" for what in ("missing", "changed", "failed", "gone"))
    print(f"{found.units} inputs, {found.rows} rows: {', '.join(counts)}; {found.replaced} rows to compact")
    if not found.whole:
        raise typer.Exit(EXIT_NOT_ALL)
