"""``ichor submit``: Kaggle's file for RSNA 2019."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ichor.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["submit"]


def submit(
    probabilities: Annotated[
        list[Path],
        typer.Argument(
            help="CSV with id and six probabilities, or findings as JSON lines with original UIDs; or Kaggle's folder "
            "stage_2_test, which is then assessed."
        ),
    ],
    sample: Annotated[Path, typer.Option(help="Kaggle's stage_2_sample_submission.csv.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")] = Path("submission.csv"),
    clip: Annotated[float, typer.Option(help="Keep probabilities this far from 0 and 1.")] = 1e-15,
    bundle: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="With a folder: the model that assesses it.")
    ] = "default",
) -> None:
    """Write a submission: every image of the sample in its order, checked against it.

    A folder of images is assessed exam by exam; what is done is kept beside OUTPUT, and a killed command goes on there.
    """
    from ichor.datasets.rsna_index import read_submission_ids
    from ichor.evaluating.submission import read_probabilities, write_submission

    folders = [path for path in probabilities if path.is_dir()]
    if folders and len(probabilities) > 1:
        raise UsageError(
            f"{folders[0]}: found a folder beside others; expected it alone, or files; give one folder"
        )
    read_submission_ids(sample)  # a wrong sample must not cost the assessment of a folder first
    found = _assessed(folders[0], bundle, output) if folders else read_probabilities(probabilities)
    images = write_submission(found, sample, output, clip)
    typer.echo(f"{output}: {images} images, {6 * images} rows")


def _assessed(folder: Path, bundle: str, output: Path) -> dict[str, NDArray[np.float64]]:
    from ichor.cli.progress import ProgressLine
    from ichor.detecting.combining import open_detector
    from ichor.evaluating.submission_folder import predict_folder

    detector = open_detector(bundle)
    kept = output.with_name(f"{output.name}.{detector.bundle.sha256[:12]}.csv")
    with ProgressLine() as progress:
        found = predict_folder(folder, kept, detector, progress)
    if found.alone:
        print(f"{len(found.alone)} images were assessed by themselves, without their exam", file=sys.stderr)
    if found.guessed:
        why = ", ".join(f"{n} {code}" for code, n in found.reasons.items()) or "in an earlier call"
        print(
            f"{len(found.guessed)} images cannot be assessed ({why}) and have the mean of the others: "
            f"{', '.join(found.guessed[:3])}",
            file=sys.stderr,
        )
    return found.probabilities
