"""``ichor export``: a trained run becomes a bundle that ``ichor detect`` uses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ichor.errors import UsageError

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run whose folds are done.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder of the bundle; 'bundle' in the run by default."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(help="Whose weights: what the recipe ships by default, or fold-0, fold-1 ..."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Of the bundle; the recipe's by default, with -int8 where that is asked for."),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Weights and activations of 8 bits: a quarter of the size; calibrated and measured as such.",
        ),
    ] = False,
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder a data set.")] = Path("data"),
) -> None:
    """Write graphs, calibration, thresholds, figures and card; refuse where ONNX and torch differ."""
    try:
        from ichor.training.release import release
        from ichor.training.run_data import RunData
        from ichor.training.run_folder import RunFolder
    except ImportError as error:
        raise UsageError(
            f"exporting: found no {error.name}; expected the extra 'train'; "
            "run pip install -e '.[train]' in the clone"
        ) from error
    folder = RunFolder.open(run)
    chosen = part and folder.checked(part)
    print(release(RunData(folder, data, _progress), output, chosen, name=name, int8=int8))


def _progress(doing: str, done: float, /) -> None:
    from ichor.cli.verbosity import quiet

    if not quiet():
        print(doing, file=sys.stderr)
