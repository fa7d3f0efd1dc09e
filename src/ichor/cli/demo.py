"""``ichor demo``: the example exam that ships with ichor, detected and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo", "demo_exam"]


def demo_exam() -> Path:
    """Return the path of the example exam: simulated, averaged from CT-ICH (CC BY 4.0), no patient."""
    return Path(__file__).parent.parent / "demo" / "demo.zip"


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the report and its companions.")
    ] = Path("ichor-demo"),
) -> None:
    """Detect hemorrhage on a simulated exam, write every kind of report, and print where the page is."""
    from rich.console import Console

    from ichor.cli.detect import make_folder
    from ichor.cli.progress import ProgressLine
    from ichor.detecting import Detector
    from ichor.reporting import FORMATS, print_table, write_report

    make_folder(output)
    with ProgressLine() as progress:
        progress("loading the model", 0.0)
        detector = Detector()
        for detection in detector.detect_all(demo_exam(), progress=progress):
            progress("writing the report", 0.9)
            # Its place within the installed package would tell a reader nothing.
            findings = detection.findings.replace(input="demo.zip (simulated exam)")
            written = write_report(findings, detection.exam, output, FORMATS, detector.bundle.card)
    print_table(findings, Console())
    report = next(path for path in written if path.suffix == ".html")
    print(f"Report: {report.resolve()}")
