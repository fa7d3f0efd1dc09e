"""``ichor evaluate``: what a run's folds say of patients that they did not train on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ichor.errors import UsageError

__all__ = ["evaluate"]


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run: holds fold-*/predictions.csv.")],
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder a data set.")] = Path("data"),
    dataset: Annotated[str, typer.Option(help="The data set the folds were held out of.")] = "ct-ich",
    head: Annotated[
        str,
        typer.Option(help="rule: what ships; map: not smoothed along the stack; pooled: the auxiliary head."),
    ] = "rule",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list instead of a table.")] = False,
) -> None:
    """Print the out-of-fold figures of a run, each with its 95 % interval over patients and its n."""
    try:
        from ichor.evaluating.out_of_fold import figures, read_predictions
    except ImportError as error:
        raise UsageError(
            f"evaluating: found no {error.name}; expected the extra 'train'; "
            "run pip install -e '.[train]' in the clone"
        ) from error
    from ichor.datasets.registry import open_dataset

    if head not in ("rule", "map", "pooled"):
        raise UsageError(f"--head {head!r}: expected rule, map or pooled")
    measured = figures(read_predictions(run, open_dataset(dataset, data), head))
    if as_json:
        print(json.dumps([asdict(figure) for figure in measured], allow_nan=False))
        return
    print("| figure | value | 95 % interval | n | positive | patients | protocol |")
    print("|---|---|---|---|---|---|---|")
    for figure in measured:
        i = figure.interval
        print(
            f"| {figure.name} | {i.value:.3f} | {i.low:.3f} to {i.high:.3f} | {i.n} | {i.positives} "
            f"| {i.patients} | {figure.protocol} |"
        )
