"""``ichor data``: the data sets, from fetching them to checking and converting them."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ichor.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from ichor.datasets.labelled import DatasetInfo
    from ichor.datasets.rendering import PictureStyle

__all__ = ["data"]

EXIT_REFUSED = 3
_WIDE = 160

data = typer.Typer(no_args_is_help=True)
DataFolder = Annotated[Path, typer.Option("--data", help="Folder with one sub-folder a data set.")]


class Form(Enum):
    """What pictures and exams are converted to."""

    PNG = "png"
    CT = "ct"
    SC = "sc"


@data.command("list")
def list_(folder: DataFolder = Path("data")) -> None:
    """List the data sets: what they are, whether they are here, and what their licence allows."""
    from rich.table import Table

    from ichor.datasets.registry import DATASETS

    table = Table("name", "what", "here", "licence", box=None, pad_edge=False)
    for name, forms in DATASETS.items():
        infos = [form.info for form in forms]
        info = min(infos, key=lambda info: (len(info.missing(folder / name)), infos.index(info) == 0))
        here = "" if info.slow_to_count else _count(name, folder)
        table.add_row(name, info.kind, here or _here([info], folder / name), info.licence)
    _console().print(table)


@data.command("info")
def info_(
    name: Annotated[str, typer.Argument(help="A name that `ichor data list` shows.")],
    folder: DataFolder = Path("data"),
) -> None:
    """Say what a data set is, how to cite it, how to get it, and what of it is here."""
    from rich.table import Table

    for number, info in enumerate(_infos(name)):
        table = Table.grid(padding=(0, 2))
        rows = {
            "title": info.title,
            "kind": info.kind,
            "content": info.content,
            "labels": info.labels,
            "cite": info.citation,
            "licence": info.licence,
            "from": info.url,
            "access": info.access,
            "expected": ", ".join(info.expected),
            "here": _here([info], folder / name),
        }
        for key, value in rows.items():
            table.add_row(key, value)
        if number:
            print()
        _console().print(table)


@data.command("get")
def get_(
    name: Annotated[str, typer.Argument(help="A name that `ichor data list` shows.")],
    folder: DataFolder = Path("data"),
    user: Annotated[
        str | None, typer.Option(help="Name at the publisher's, where a login is needed; asks the password.")
    ] = None,
) -> None:
    """Fetch a data set from its publisher, going on where an earlier call stopped, and check it."""
    from ichor.cli.progress import ProgressLine
    from ichor.datasets.fetching import Login
    from ichor.datasets.getting import get

    info = _infos(name)[-1]
    typer.echo(f"{info.title}\nlicence: {info.licence}\naccess: {info.access}", err=True)
    login = None
    if user is not None:
        login = Login(user, typer.prompt("Password", hide_input=True, err=True))
    with ProgressLine() as line:
        todo = get(name, folder, line, login)
    for sentence in todo:
        typer.echo(f"still to do: {sentence}", err=True)
    if todo:
        raise typer.Exit(EXIT_REFUSED)
    print(f"{name}: whole, in {folder / name}; look it through with: ichor data check {name} --data {folder}")


@data.command("check")
def check_(
    name: Annotated[str, typer.Argument(help="A data set's name, or folder:PATH, or csv:PATH.")],
    folder: DataFolder = Path("data"),
    most: Annotated[
        int | None, typer.Option(help="Read so many exams, evenly chosen, instead of all.", min=0)
    ] = None,
    leave_out: Annotated[
        Path | None, typer.Option(help="Write the names of what cannot be read into this file, one a line.")
    ] = None,
) -> None:
    """Look a data set through: layout, counts, corrupt files, labels against files. Exits with 3 at a fault."""
    from ichor.cli.progress import ProgressLine
    from ichor.datasets.checking import check

    with ProgressLine() as line:
        found = check(name, folder, line, most)
    print(f"{name}: " + ", ".join(f"{what} {n:,}" for what, n in found.counts.items()))
    for label, (positive, unknown) in found.positives.items():
        print(f"  {label}: {positive:,} positive" + (f", {unknown:,} unknown" if unknown else ""))
    for note in found.notes:
        print(f"note: {note}")
    for fault in found.faults:
        typer.echo(f"fault: {_printable(fault)}", err=True)
    if leave_out is not None:
        before = leave_out.read_text(encoding="utf-8").split() if leave_out.exists() else []
        names = dict.fromkeys([*before, *found.unreadable])
        leave_out.write_text("".join(f"{n}\n" for n in names), encoding="utf-8")
    if found.faults:
        raise typer.Exit(EXIT_REFUSED)
    print("no faults")


@data.command("convert")
def convert_(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Studies, or folders of studies; for the way back, folders of pictures."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to write to; goes on where it stopped.")
    ],
    to: Annotated[
        Form, typer.Option(help="png: windowed pictures. Back: ct, a series in HU; sc, secondary captures.")
    ] = Form.PNG,
    windows: Annotated[
        list[str] | None,
        typer.Option(
            "--window", help="A window by its name, or LEVEL:WIDTH in HU. Repeatable; brain by default."
        ),
    ] = None,
    rgb: Annotated[bool, typer.Option("--rgb", help="Three windows as the channels of one picture.")] = False,
    size: Annotated[str | None, typer.Option(help="N, or ROWSxCOLUMNS, of the pictures.")] = None,
    each_file: Annotated[
        bool,
        typer.Option("--each-file", help="Take every file on its own: folders that mix patients (RSNA)."),
    ] = False,
    original_names: Annotated[
        bool, typer.Option("--original-names", help="Name pictures by the UIDs as stored, not hashed.")
    ] = False,
    processes: Annotated[int, typer.Option(help="Processes; 0 for one a core.", min=0)] = 0,
    spacing: Annotated[
        float | None, typer.Option(help="Back, without a record: mm between pixels.", min=0.001)
    ] = None,
    step: Annotated[
        float | None, typer.Option(help="Back, without a record: mm between slices.", min=0.001)
    ] = None,
) -> None:
    """Turn exams into windowed PNG, or such pictures back into a DICOM series. Exits with 3 if some failed."""
    from ichor.datasets.rendering import PictureStyle, parse_window

    named = dict(parse_window(text) for text in windows or ["brain"])
    if to is Form.PNG:
        _to_pictures(
            paths, output, PictureStyle(named, rgb, _size(size), original_names, each_file), processes
        )
    else:
        if windows is not None and len(named) != 1:
            raise UsageError(
                f"--window: found {len(named)}; expected the one that pictures without a record show"
            )
        _to_series(paths, output, to, next(iter(named.values())), spacing, step)


def _to_pictures(
    paths: list[Path],
    output: Path,
    style: PictureStyle,
    processes: int,
) -> None:
    from ichor.datasets.converting import convert, jobs_of

    jobs = jobs_of(paths, each_file=style.each_file)
    if not jobs:
        raise UsageError(f"{paths[0]}: found no files; expected studies; check the path")
    with _bar() as bar:
        task = bar.add_task("converting", total=len(jobs))
        errors = convert(
            jobs,
            output,
            style,
            lambda count, total, text: bar.update(task, completed=count),
            processes or None,
        )
    _end(errors, len(jobs), output)


def _to_series(
    paths: list[Path],
    output: Path,
    to: Form,
    window: tuple[float, float],
    spacing: float | None,
    step: float | None,
) -> None:
    from ichor.datasets.converting_back import AssumedGeometry, picture_folders, write_series
    from ichor.preparing.windows import Window

    folders = picture_folders(paths)
    assumed = AssumedGeometry(Window(*window), spacing, step) if spacing and step else None
    errors = []
    with _bar() as bar:
        for folder in bar.track(folders, description="writing series"):
            try:
                write_series(folder, output, "ct" if to is Form.CT else "sc", assumed)
            except UsageError as error:
                errors.append(error)
    _end(errors, len(folders), output)


def _end(errors: list[UsageError], n: int, output: Path) -> None:
    """Print each input that failed, then how many did."""
    for error in errors:
        typer.echo(f"failed: {_printable(str(error))}", err=True)
    print(f"{n - len(errors):,} of {n:,} converted, in {output}")
    if errors:
        raise typer.Exit(EXIT_REFUSED)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _console() -> Console:
    """Lines are cut to a terminal's width, and where nobody sees one, hardly."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if not 1 <= len(parts) <= 2 or not all(part.isdigit() for part in parts):
        raise UsageError(f"--size {text}: found no size; expected N, or ROWSxCOLUMNS, such as 224")
    return int(parts[0]), int(parts[-1])


def _infos(name: str) -> list[DatasetInfo]:
    from ichor.datasets.registry import DATASETS, open_dataset

    if name not in DATASETS:
        open_dataset(name.replace(":", " "), Path())  # raises, with the nearest name
    return [form.info for form in DATASETS[name]]


def _count(name: str, folder: Path) -> str:
    """How many exams there are; empty where there are none."""
    from ichor.datasets.registry import open_dataset

    try:
        opened = open_dataset(name, folder)
        return f"{len(opened.patients()):,}"
    except UsageError:
        return ""


def _here(infos: list[DatasetInfo], folder: Path) -> str:
    if not folder.is_dir():
        return "no"
    least = min(infos, key=lambda info: len(info.missing(folder)))
    absent = least.missing(folder)
    if len(absent) == len(least.expected):
        return "no"
    return "yes" if not absent else f"in part: no {', '.join(absent)}"


def _printable(text: str) -> str:
    from ichor.reporting.words import printable

    return printable(text)
