"""``ichor bundle``: models of others become bundles, and bundles are calibrated on a site's own exams."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ichor.errors import UsageError

__all__ = ["bundle"]

bundle = typer.Typer(no_args_is_help=True)


@bundle.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="ipan or blast-ct; or a folder: an ONNX graph and its model.yaml, a trained nnU-Net v2, a MONAI one.",
            metavar="NAME|FOLDER",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the bundle.")],
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="With a NAME: its published files; by default they are fetched.", show_default=False
        ),
    ] = None,
    revision: Annotated[
        str, typer.Option(help="Of the publication: which to fetch, or of what the folder holds.")
    ] = "",
) -> None:
    """Make a bundle of a published model: checked tensor by tensor, compared with its graphs, not calibrated."""
    try:
        from ichor.training.importing.calls import import_bundle

        print(import_bundle(source, folder, output, revision))
    except ImportError as error:
        raise _needs_train("importing", error) from error


@bundle.command()
def calibrate(
    source: Annotated[str, typer.Argument(help="The bundle, calibrated or not.", metavar="NAME|PATH")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the new bundle.")],
    data: Annotated[
        Path,
        typer.Option(help="A CSV that lists labelled exams; or a folder with one sub-folder a data set."),
    ] = Path("data"),
    dataset: Annotated[str | None, typer.Option(help="Which data set of the folder.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the new bundle; the old one's with -calibrated by default.")
    ] = None,
) -> None:
    """Fit probabilities, thresholds and reference ranges on exams of your own, and measure them by patient."""
    from ichor.cli.progress import ProgressLine
    from ichor.datasets.registry import open_dataset

    try:
        from ichor.training.calibrating import calibrate as fit
    except ImportError as error:
        raise _needs_train("calibrating", error) from error
    if dataset is None and not data.is_file():
        raise UsageError(
            f"--data {data}: found no CSV, and no --dataset; expected a CSV, or a folder and the name of a data set "
            "in it"
        )
    labelled = open_dataset(dataset or f"csv:{data}", data)
    with ProgressLine() as progress:
        found = fit(source, labelled, output, name=name, progress=progress)
    for remark in found.remarks:
        print(remark, file=sys.stderr)
    print(found.folder)


def _needs_train(doing: str, error: ImportError) -> UsageError:
    return UsageError(
        f"{doing}: found no {error.name}; expected the extra 'train'; run pip install -e '.[train]' in the clone"
    )
