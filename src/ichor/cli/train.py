"""``ichor train``: a recipe in, a measured model out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ichor.errors import UsageError
from ichor.training.calls import Choice, open_training

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ichor.progress import Progress
    from ichor.training.calls import Training

__all__ = ["train"]


def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe of the package (--list names them) or a YAML file.")
    ] = "default",
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder a data set.")] = Path("data"),
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Folder of the run (runs/RECIPE by default); goes on where it stopped."
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set to train and measure on, instead of the recipe's.")
    ] = None,
    parts: Annotated[
        str,
        typer.Option(
            help="Of fold-0,fold-1,...,sequence,soup,all; 'folds'; or 'everything': the recipe's, and the bundle."
        ),
    ] = "everything",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change the recipe: key=value, such as epochs=3. Repeatable."),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="ImageNet weights: 'hub' (timm's), 'none', or a safetensors file under timm's names."
        ),
    ] = "hub",
    start_from: Annotated[
        Path | None,
        typer.Option(help="Weights to start from: a run's folder (what it ships) or a safetensors file."),
    ] = None,
    shards: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="What ichor data prepare made, read where it lies: a folder or s3://bucket/prefix.",
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="BUNDLE|RUN",
            help="Learn its outputs on --unlabelled beside the labels: a bundle, or the folder of a run with the same "
            "folds (of each fold its own network).",
        ),
    ] = None,
    unlabelled: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Exams without labels: a folder of studies, or a data set (its labels are not used).",
        ),
    ] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    devices: Annotated[int, typer.Option(help="GPUs, or CPU processes, a machine.", min=1)] = 1,
    nodes: Annotated[int, typer.Option(help="Machines.", min=1)] = 1,
    precision: Annotated[str, typer.Option(help="auto, 32 or bf16.")] = "auto",
    workers: Annotated[int, typer.Option(help="Processes that draw batches; 0: none beside.", min=0)] = 1,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 for all.", min=0)] = 0,
    list_recipes: Annotated[bool, typer.Option("--list", help="List the recipes of the package.")] = False,
) -> None:
    """Train a recipe: its folds by patient, then the network that ships, then the bundle."""
    if list_recipes:
        _print_recipes()
        return
    try:
        from ichor.training.hardware import Hardware
    except ImportError as error:
        raise UsageError(
            f"training: found no {error.name}; expected the extra 'train'; "
            "run pip install -e '.[train]' in the clone"
        ) from error
    choice = Choice(recipe, dataset, settings or (), weights, start_from, shards, teacher, unlabelled)
    hardware = Hardware(accelerator, devices, nodes, precision, workers, threads)
    plan = open_training(choice, data, output, parts, hardware, _progress())
    _carry_out(plan)


def _print_recipes() -> None:
    from ichor.training.recipe_files import recipe_descriptions

    for name, description in recipe_descriptions().items():
        print(f"{name}: {description}")


def _carry_out(plan: Training) -> None:
    hardware = plan.run.hardware
    if hardware.world > 1 and len(plan.parts) > 1:
        _each_in_its_own_processes(plan.parts, hardware.nodes)
        if plan.bundle:
            from ichor.training.release import release

            print(release(plan.run.data))
        return
    done = plan.carry_out()
    if done.bundle is not None:
        print(done.bundle)


def _each_in_its_own_processes(parts: Sequence[str], nodes: int) -> None:
    """Start this command for one part after the other: processes that share a batch end with their part."""
    if nodes > 1:
        raise UsageError(
            f"--nodes {nodes}: found {len(parts)} parts; expected one: every machine must be on the same; "
            "start one part after the other with --parts"
        )
    for part in parts:
        command = [sys.executable, "-m", "ichor.cli", *sys.argv[1:], "--parts", part]
        status = subprocess.run(command, check=False).returncode
        if status:
            raise typer.Exit(status)


def _progress() -> Progress:
    """Give a bar with the time left where a person sees it, lines otherwise."""
    from ichor.cli.progress import ProgressLine
    from ichor.cli.verbosity import quiet
    from ichor.training.ranks import is_first_process

    line = ProgressLine()
    shown = sys.stderr.isatty()

    def progress(doing: str, done: float, /) -> None:
        if quiet() or not is_first_process():
            return
        if shown and done > 0:
            line(doing, done)
            return
        line.clear()
        print(doing, file=sys.stderr, flush=True)

    return progress
