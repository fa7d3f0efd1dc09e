"""``ichor evaluate``: a model measured on patients that it did not train on."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
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
        Path | None,
        typer.Argument(
            help="Folder of a run (holds fold-*/predictions.csv), output of ichor bulk, or any system's CSV.",
            show_default=False,
        ),
    ] = None,
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
    bundles: Annotated[
        list[str] | None,
        typer.Option(
            "--bundle",
            metavar="NAME|PATH",
            help="Instead of predictions: run this bundle over --dataset. Twice: compared pair by pair. A+B: combined.",
        ),
    ] = None,
    clip: Annotated[
        float, typer.Option(help="For the log loss, keep probabilities this far from 0 and 1.")
    ] = 1e-15,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Measure a model out of fold: every figure with its 95 % interval over patients and its n."""
    if pictures and not output:
        raise UsageError("--failures: found no -o; expected a folder for the page that shows the pictures")
    if bundles:
        if predictions or against or head or pictures or not dataset:
            raise UsageError(
                "--bundle: found predictions, --against, --head or --failures beside it, or no --dataset; expected a "
                "bundle, or two, and the data set to run them over"
            )
        _bundles(bundles, dataset, data, output, groups=groups, as_json=as_json)
        return
    if predictions is None:
        raise UsageError("found neither predictions nor --bundle; expected one of them")
    from ichor.cli.progress import ProgressLine

    with ExitStack() as stack:
        progress = stack.enter_context(ProgressLine())
        progress(f"evaluating {predictions.name}", 0.0)
        found = calls.evaluate(
            _table(predictions, data, dataset, stack),
            data,
            dataset=dataset,
            head=head,
            against=_table(against, data, dataset, stack) if against else None,
            groups=groups,
            failures=pictures,
            clip=clip,
            progress=progress,
        )
    _show(found, output, as_json=as_json)


def _bundles(
    bundles: list[str], dataset: str, data: Path, output: Path | None, *, groups: bool, as_json: bool
) -> None:
    try:
        from ichor.evaluating.bundles import evaluate_bundles
    except ImportError as error:
        raise UsageError(
            f"evaluating: found no {error.name}; expected the extra 'evaluate'; "
            "run pip install -e '.[evaluate]' in the clone"
        ) from error
    from ichor.cli.progress import ProgressLine

    with ProgressLine() as progress:
        found, costs = evaluate_bundles(bundles, dataset, data, groups=groups, progress=progress)
    rows = [asdict(cost) for cost in costs]
    if as_json:
        print(json.dumps(found.as_json() | {"costs": rows}, allow_nan=False))
        return
    _show(found, output, as_json=False)
    kind = found.run.kind
    print(f"\n| bundle | first, s | median, s | memory, MB | {kind} | left out | learned from this data |")
    print("|---|---|---|---|---|---|---|")
    for c in costs:
        memory = "" if c.memory_mb is None else f"{c.memory_mb:.0f}"
        learned = "yes: its figures are too good" if c.learned_from else "no"
        reasons = ", ".join(f"{code} {n}" for code, n in sorted(c.left_out.items())) or 0
        print(f"| {c.name} | {c.first:.2f} | {c.median:.2f} | {memory} | {c.exams} | {reasons} | {learned} |")


def _table(predictions: Path, data: Path, dataset: str | None, stack: ExitStack) -> Path:
    """Return what was given; of an output of ``ichor bulk``, a table of its rows for as long as the stack lasts."""
    if not (predictions / "run.json").is_file() or not (predictions / "rows").is_dir():
        return predictions
    from ichor.bulk.output import Output
    from ichor.bulk.table import write_predictions
    from ichor.datasets.registry import open_dataset
    from ichor.reading.scratch import ScratchFolder

    if dataset is None:
        raise UsageError(
            f"{predictions}: found rows of ichor bulk; expected --dataset with them; name what they are of"
        )
    path = stack.enter_context(ScratchFolder()) / f"{predictions.resolve().name}.csv"
    left_out = write_predictions(Output(predictions), open_dataset(dataset, data).patients(), path)
    if left_out:
        typer.echo(f"{predictions}: {left_out} rows that were not assessed are left out", err=True)
    return path


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
