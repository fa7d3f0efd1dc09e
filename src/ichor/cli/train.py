"""``ichor train``: a recipe in, a measured model out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ichor.errors import UsageError

__all__ = ["train"]


def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe of the package (default) or a YAML file.")
    ] = "default",
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder a data set.")] = Path("data"),
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the run; goes on where it stopped.")
    ] = Path("runs/default"),
    parts: Annotated[
        str,
        typer.Option(help="Which parts: fold-0,fold-1,...,all; or 'everything' (also writes the bundle)."),
    ] = "everything",
    weights: Annotated[
        Path | None,
        typer.Option(help="ImageNet weights (safetensors, timm's names); without it, from timm's hub."),
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 for all.")] = 0,
) -> None:
    """Train a recipe: its folds by patient, then the model on all patients, then the bundle."""
    try:
        import torch

        from ichor.training.recipe import load_recipe
        from ichor.training.run import Run
    except ImportError as error:
        raise UsageError(
            f"training: found no {error.name}; expected the extra 'train'; "
            "run pip install -e '.[train]' in the clone"
        ) from error
    if weights is not None and not weights.is_file():
        raise UsageError(
            f"{weights}: found no file; expected ImageNet weights as safetensors (docs/how-to/train.md)"
        )
    if threads:
        torch.set_num_threads(threads)
    run = Run(load_recipe(recipe), data, output, weights or True, _log)
    wanted = run.parts() if parts == "everything" else parts.split(",")
    for part in wanted:
        if part not in run.parts():
            raise UsageError(f"part {part!r}: found no such part; expected one of {', '.join(run.parts())}")
        run.train(part)
    if parts == "everything":
        from ichor.training.release import release

        print(release(run))


def _log(part: str, step: int, steps: int, line: str) -> None:
    place = f"{part} {step}/{steps}" if steps else part
    print(f"{place}: {line}", file=sys.stderr, flush=True)
