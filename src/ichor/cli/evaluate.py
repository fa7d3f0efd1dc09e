"""``ichor evaluate``: a model measured on patients that it did not train on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ichor.errors import UsageError
from ichor.evaluating import calls

if TYPE_CHECKING:
    from ichor.evaluating.page import Evaluation

__all__ = ["evaluate"]


def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(help="Folder of a run (holds fold-*/predictions.csv), or any system's CSV."),
    ],
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder a data set.")] = Path("data"),
    dataset: Annotated[str | None, typer.Option(help="What was predicted; a run says it itself.")] = None,
    head: Annotated[
        str | None,
        typer.Option(
            help="Other than what ships. rule: the slice rule alone; map: not smoothed along the stack; pooled: the "
            "auxiliary head; sequence: all of them, stacked over the slices of an exam."
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
    if pictures and not output:
        raise UsageError("--failures: found no -o; expected a folder for the page that shows the pictures")
    found = calls.evaluate(
        predictions,
        data,
        dataset=dataset,
        head=head,
        against=against,
        groups=groups,
        failures=pictures,
        clip=clip,
    )
    _show(found, output, as_json=as_json)


def _show(found: Evaluation, output: Path | None, *, as_json: bool) -> None:
    from ichor.evaluating.page import write_page

    if output:
        for path in write_page(found, output):
            typer.echo(path, err=True)
    if as_json:
        print(json.dumps(found.as_json(), allow_nan=False))
        return
    for title, rows in found.figures.items():
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
    if found.differences:
        print(f"\nLess {found.against}\n\n| figure | difference | 95 % interval | p | better |")
        print("|---|---|---|---|---|")
        named = {"first": found.name, "second": found.against}
        for d in found.differences:
            i = d.interval
            better = named.get(d.better, "not told apart")
            print(f"| {d.name} | {i.value:+.3f} | {i.low:+.3f} to {i.high:+.3f} | {d.p:.3f} | {better} |")
