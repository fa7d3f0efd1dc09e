"""``ichor explore``: what a data set holds, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ichor.errors import UsageError

if TYPE_CHECKING:
    from ichor.datasets.labelled import Dataset

__all__ = ["explore"]

_PREFIXES = ("folder", "csv")
"""Of names that are followed by a path."""


def explore(
    data: Annotated[
        Path,
        typer.Argument(
            help="A data set's folder, a folder a class, a CSV; or, with --dataset, the folder above."
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(help="Which data set it is, where its files do not show it; folder: or csv: too."),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The page; a JSON of the same name is written beside it.")
    ] = Path("exploration.html"),
    splits: Annotated[
        Path | None,
        typer.Option(
            help="Search this split for leakage: a split.json, a run's folder, a CSV (patient, fold)."
        ),
    ] = None,
    most: Annotated[
        int | None, typer.Option(help="Exams to read; 300, or 3000 pictures, by default.", min=1)
    ] = None,
    names: Annotated[
        bool,
        typer.Option("--names", help="Show your own files by name, not by number: names may name a person."),
    ] = False,
) -> None:
    """Write a report on a data set: classes, HU, geometry, a montage, what is broken or twice, split leakage."""
    _need_the_extra()
    from ichor.cli.progress import ProgressLine
    from ichor.exploring.explore import explore as look_through
    from ichor.exploring.leakage import read_sides
    from ichor.exploring.page import write_report
    from ichor.exploring.remarks import remarks

    if output.is_dir():
        output = output / "exploration.html"
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--output {output}: expected a name that ends in .html")
    opened = _open(data, dataset)
    split = read_sides(splits) if splits else None
    with ProgressLine() as progress:
        exploration = look_through(opened, most=most, split=split, show_names=names, progress=progress)
    page, figures = write_report(exploration, output)
    for remark in remarks(exploration):
        print(("! " if remark.grave else "- ") + remark.text)
    print(page)
    print(figures)


def _need_the_extra() -> None:
    try:
        import imagehash  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"exploring: found no {error.name}; expected the extra 'train'; "
            "run pip install -e '.[train]' in the clone"
        ) from error


def _open(data: Path, dataset: str | None) -> Dataset:
    from ichor.datasets.registry import DATASETS, open_dataset

    if not data.exists():
        raise UsageError(
            f"{data}: found nothing there; expected a data set's folder or a CSV; check the path"
        )
    if dataset is not None:
        if dataset in DATASETS and not (data / dataset).is_dir():
            for form in DATASETS[dataset]:
                if not form.info.missing(data):
                    return form(data)
        return open_dataset(f"{dataset}:{data}" if dataset in _PREFIXES else dataset, data)
    if data.is_file():
        return open_dataset(f"csv:{data}", data.parent)
    known = [form for forms in DATASETS.values() for form in forms if not form.info.missing(data)]
    if known:
        return max(known, key=lambda form: len(form.info.expected))(data)
    inside = [name for name in DATASETS if (data / name).is_dir()]
    if inside:
        raise UsageError(
            f"{data}: found the data sets {', '.join(inside)}; expected one; name it with --dataset, or give its folder"
        )
    return open_dataset(f"folder:{data}", data.parent)
