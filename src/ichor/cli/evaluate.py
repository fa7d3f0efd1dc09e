"""``ichor evaluate``: what a model says of patients that it did not train on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ichor.errors import UsageError

if TYPE_CHECKING:
    from ichor.datasets.labelled import Dataset
    from ichor.evaluating.predictions import OutOfFold

__all__ = ["evaluate"]

_HEADS = ("rule", "map", "pooled", "sequence")


def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(help="Folder of a run (holds fold-*/predictions.csv), or any system's CSV."),
    ],
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder a data set.")] = Path("data"),
    dataset: Annotated[str | None, typer.Option(help="What was judged; a run says it itself.")] = None,
    head: Annotated[
        str | None,
        typer.Option(
            help="Other than what ships. rule: the slice rule alone; map: not smoothed along the stack; pooled: the "
            "auxiliary head; sequence: all of them, weighed over the slices."
        ),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another run or CSV on the same data: compared pair by pair.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for evaluation.html and evaluation.json.")
    ] = None,
    groups: Annotated[
        bool, typer.Option("--groups", help="Also by age, thickness and size of the bleed; reads every exam.")
    ] = False,
    pictures: Annotated[
        bool,
        typer.Option(
            "--failures", help="On the page: a picture of every exam that is called wrongly; needs -o."
        ),
    ] = False,
    clip: Annotated[
        float, typer.Option(help="For the log loss, keep probabilities this far from 0 and 1.")
    ] = 1e-15,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Measure a model out of fold: every figure with its 95 % interval over patients and its n."""
    try:
        from ichor.evaluating.compare import compare
        from ichor.evaluating.failures import failures
        from ichor.evaluating.groups import group_figures, groups_of
        from ichor.evaluating.out_of_fold import accuracy_figures, figures, operating_points, subtype_figures
        from ichor.evaluating.page import Evaluation, write_page
        from ichor.evaluating.predictions import dataset_of
    except ImportError as error:
        raise UsageError(
            f"evaluating: found no {error.name}; expected the extra 'train'; "
            "run pip install -e '.[train]' in the clone"
        ) from error
    from ichor.datasets.registry import open_dataset

    if head not in (None, *_HEADS):
        raise UsageError(f"--head {head!r}: expected {', '.join(_HEADS)}")
    if not 0 < clip < 0.5:
        raise UsageError(f"--clip: found {clip:g}; expected more than 0, under 0.5")
    if pictures and not output:
        raise UsageError("--failures: found no -o; expected a folder for the page that shows the pictures")
    judged = open_dataset(dataset or dataset_of(predictions), data)
    run = _read(predictions, judged, head)
    tables = {
        "Areas, log loss, calibration": figures(run, clip),
        "Verdicts": accuracy_figures(run),
        "Operating points": operating_points(run),
        "Subtypes": subtype_figures(run),
    }
    if groups:
        tables["Subgroups"] = list(group_figures(run, groups_of(judged)))
    evaluation = Evaluation(
        predictions.stem if predictions.is_file() else predictions.resolve().name,
        judged.name,
        run,
        tables,
        compare(run, _read(against, judged, head)) if against else [],
        against.stem if against else "",
        predictions if predictions.is_dir() else None,
        failures(run, judged) if pictures else [],
    )
    if output:
        for path in write_page(evaluation, output):
            typer.echo(path, err=True)
    if as_json:
        print(json.dumps(evaluation.as_json(), allow_nan=False))
        return
    for title, rows in tables.items():
        if not rows:
            continue
        print(f"\n{title}\n\n| figure | value | 95 % interval | n | positive | patients | protocol |")
        print("|---|---|---|---|---|---|---|")
        for figure in rows:
            i = figure.interval
            print(
                f"| {figure.name} | {i.value:.3f} | {i.low:.3f} to {i.high:.3f} | {i.n} | {i.positives} "
                f"| {i.patients} | {figure.protocol} |"
            )
    if evaluation.differences:
        print(f"\nLess {evaluation.against}\n\n| figure | difference | 95 % interval | p | better |")
        print("|---|---|---|---|---|")
        named = {"first": evaluation.name, "second": evaluation.against}
        for d in evaluation.differences:
            i = d.interval
            better = named.get(d.better, "not told apart")
            print(f"| {d.name} | {i.value:+.3f} | {i.low:+.3f} to {i.high:+.3f} | {d.p:.3f} | {better} |")


def _read(path: Path, judged: Dataset, head: str | None) -> OutOfFold:
    from ichor.evaluating.predictions import read_predictions, read_table

    if path.is_file():
        return read_table(path, judged)
    if not path.is_dir():
        raise UsageError(f"{path}: found neither a run's folder nor a CSV; expected one; check the path")
    return read_predictions(path, judged, head)
