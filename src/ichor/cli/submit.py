"""``ichor submit``: Kaggle's file for RSNA 2019."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["submit"]


def submit(
    probabilities: Annotated[
        list[Path],
        typer.Argument(
            help="CSV with id and six probabilities, or findings as JSON lines with original UIDs."
        ),
    ],
    sample: Annotated[Path, typer.Option(help="Kaggle's stage_2_sample_submission.csv.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")] = Path("submission.csv"),
    clip: Annotated[float, typer.Option(help="Keep probabilities this far from 0 and 1.")] = 1e-15,
) -> None:
    """Write a submission: every image of the sample in its order, checked against it."""
    from ichor.evaluating.submission import read_probabilities, write_submission

    images = write_submission(read_probabilities(probabilities), sample, output, clip)
    typer.echo(f"{output}: {images} images, {6 * images} rows")
