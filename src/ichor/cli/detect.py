"""``ichor detect``: studies in, findings out."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ichor.cli.verbosity import quiet
from ichor.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from ichor.cli.progress import ProgressLine
    from ichor.detecting import Detection, Detector, PictureStack
    from ichor.detecting.bundle import BundleCard
    from ichor.findings import Findings
    from ichor.reading.limits import Limits
    from ichor.results import Results

__all__ = ["detect", "limits_of", "make_folder", "result_kinds"]

EXIT_REFUSED = 3
_RESULTS = "dicom"
"""Folder of DICOM objects within that of a result."""


class Device(StrEnum):
    """Where the model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Engine(StrEnum):
    """What runs the model."""

    auto = "auto"
    onnxruntime = "onnxruntime"
    openvino = "openvino"


def detect(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Folders, DICOM files, archives (zip, tar), NIfTI volumes or pictures of a slice.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Write each result's files to a folder of its own in DIR."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="One findings object a line on standard output, nothing else there."),
    ] = False,
    device: Annotated[Device, typer.Option(help="Where the model runs.")] = Device.auto,
    engine: Annotated[
        Engine,
        typer.Option(
            help="What runs the model; auto takes OpenVINO, if installed, on processors with bf16, and for volumes."
        ),
    ] = Engine.auto,
    bundle: Annotated[
        str,
        typer.Option(metavar="NAME|PATH", help="The model; A+B: the mean of the calibrated logits of both."),
    ] = "default",
    write: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIST",
            help="With -o, what to write besides findings.json, slices.csv and report.html: nifti, overlay; or DICOM "
            "objects for a PACS: dicom (seg, sr, sc and ko), or any of seg, sr, sc, ko, pdf, sr-planar.",
        ),
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(metavar="UID", help="Assess this series (its UID, or the hash ichor gave it)."),
    ] = None,
    as_exam: Annotated[
        bool,
        typer.Option(
            "--as-exam",
            help="Take the pictures of each folder or archive as slices of one exam, in the order of their names, the "
            "first the lowest; with --step.",
        ),
    ] = False,
    step: Annotated[
        float | None, typer.Option(metavar="MM", help="With --as-exam: mm from one picture to the next.")
    ] = None,
    spacing: Annotated[
        float | None,
        typer.Option(metavar="MM", help="With --as-exam: mm between pixels; without it no volume is given."),
    ] = None,
    top_first: Annotated[
        bool, typer.Option("--top-first", help="With --as-exam: the first picture is the highest.")
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(metavar="X", help="Suspect hemorrhage from this probability on (0 to 1).")
    ] = None,
    sensitivity: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Suspect hemorrhage from the model's operating point for this sensitivity on: 0.9, 0.95 or 0.99.",
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Override a limit of the input (ichor info lists them); may repeat."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Inputs at a time: others are read while one is assessed.")
    ] = 1,
    only_look: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be assessed and what not; no model is run."),
    ] = False,
    show_identity: Annotated[
        bool,
        typer.Option(
            "--show-identity",
            help="Show name, ID, accession number, date and description of each study on the terminal, nowhere else.",
        ),
    ] = False,
    original_uids: Annotated[
        bool, typer.Option("--original-uids", help="Give original UIDs instead of hashes.")
    ] = False,
) -> None:
    """Find hemorrhage on head CT.

    Exit status: 0 every input was assessed, whatever was found; 2 bad usage; 3 at least one input could not
    be assessed (the others are, and each says why).
    """
    if show_identity and as_json:
        raise UsageError(
            "found --show-identity with --json; expected it for the terminal alone; leave one out"
        )
    formats, kinds = _formats(write, output)
    if threshold is not None and not 0 < threshold < 1:
        raise UsageError(f"--threshold: found {threshold:g}; expected a probability between 0 and 1")
    if threshold is not None and sensitivity is not None:
        raise UsageError("found both --threshold and --sensitivity; expected one of them; leave one out")
    stack = _stack(as_exam, step, spacing, top_first)
    if only_look and (output is not None or as_json):
        raise UsageError(
            "found --dry-run with -o or --json; expected it alone: it has no findings; leave one out"
        )
    if output is not None:
        make_folder(output)

    from ichor.reading.isolation import warm

    warm()  # it starts while the model is loaded
    from ichor.cli.many import detected, dry_run
    from ichor.cli.progress import ProgressLine
    from ichor.detecting import Options
    from ichor.reporting.words import printable

    options = Options(threshold=threshold, sensitivity=sensitivity, original_uids=original_uids, stack=stack)
    if only_look:
        if dry_run(inputs, options, series, _limits(limit or [])):
            raise typer.Exit(EXIT_REFUSED)
        return
    with ProgressLine() as progress:
        progress("loading the model", 0.0)
        detector, limits = _load(bundle, device, engine, limit or [], reports=output is not None)
        writer = _Writer(output, formats, kinds, detector.bundle.card, limits)
        show = _Show(as_json, progress, limits if show_identity else None)
        for detection in detected(detector, inputs, jobs, options, series, limits, progress):
            findings, written = writer.write(detection)
            show(findings, written, detection)
    if not quiet():
        show.summary()
    for note in writer.notes:
        print(printable(note), file=sys.stderr)
    if show.refused:
        raise typer.Exit(EXIT_REFUSED)


def _stack(as_exam: bool, step: float | None, spacing: float | None, top_first: bool) -> PictureStack | None:
    """Return how pictures lie in one exam, where they are to be put together."""
    if not as_exam:
        if step is not None or spacing is not None or top_first:
            raise UsageError(
                "found --step, --spacing or --top-first without --as-exam; expected them with it; add --as-exam"
            )
        return None
    if step is None:
        raise UsageError(
            "found --as-exam without --step; expected the mm from one picture to the next, which no picture says; add "
            "--step MM, as the report or the scanner's protocol gives it"
        )
    from ichor.detecting import PictureStack

    return PictureStack(step, spacing, top_first)


def _load(
    bundle: str, device: Device, engine: Engine, overrides: list[str], *, reports: bool
) -> tuple[Detector, Limits]:
    """Open the model in a thread; import meanwhile what reads and reports a study, and look at the limits."""
    from concurrent.futures import ThreadPoolExecutor

    from ichor.detecting.combining import open_detector

    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(open_detector, bundle, device.value, engine.value)
        limits = _limits(overrides)
        if reports:
            import ichor.reporting.html  # noqa: F401
    return opening.result(), limits


def _formats(write: list[str] | None, output: Path | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the files of the report, and the kinds of DICOM objects, that were asked for."""
    from ichor.reporting import DEFAULT_FORMATS, FORMATS, check_formats

    names = _names(write)
    formats = check_formats([*DEFAULT_FORMATS, *(name for name in names if name in FORMATS)])
    kinds = _kinds([name for name in names if name not in FORMATS], FORMATS)
    if write is not None and output is None:
        raise UsageError("--write: found no folder to write to; expected -o DIR with it")
    return formats, kinds


def _names(write: list[str] | None) -> list[str]:
    return [name.strip() for text in write or [] for name in text.split(",") if name.strip()]


def result_kinds(write: list[str] | None) -> tuple[str, ...]:
    """Return the kinds of DICOM objects that ``--write`` names, where it takes nothing else.

    Raises
    ------
    UsageError
        Where one is unknown, or what makes them is not installed.
    """
    return _kinds(_names(write), ())


def _kinds(names: list[str], formats: tuple[str, ...]) -> tuple[str, ...]:
    """Check the kinds of DICOM objects, and that what makes them is installed."""
    if not names:
        return ()
    from ichor.results import check_installed, check_kinds
    from ichor.results.kinds import GROUP, KINDS

    for name in names:
        if name != GROUP and name not in KINDS:
            known = ", ".join((*formats, GROUP, *KINDS))
            raise UsageError(f"--write {name}: found no such format; expected {known}")
    check_installed()
    return check_kinds(names)


def _limits(overrides: list[str]) -> Limits:
    from ichor.reading.limits import Limits

    return Limits.from_environment(**limits_of(overrides))


def limits_of(overrides: list[str]) -> dict[str, float]:
    """Return what ``--limit`` gave, by name.

    Raises
    ------
    UsageError
        Where one is not of the form NAME=VALUE.
    """
    values: dict[str, float] = {}
    for text in overrides:
        name, equals, value = text.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            raise UsageError(
                f"--limit {text!r}: expected NAME=VALUE with a number, such as seconds=60"
            ) from None
        if not equals:
            raise UsageError(f"--limit {text!r}: expected NAME=VALUE")
    return values


def make_folder(output: Path) -> None:
    """Before anything is read: nobody wants to learn after minutes that the disk is read-only."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{output}: found that no folder can be made there ({error.strerror or type(error).__name__}); "
            "expected a folder to write to; give another with -o"
        ) from error


@dataclass
class _Writer:
    """Writes each result to a folder of its own."""

    output: Path | None
    formats: tuple[str, ...]
    kinds: tuple[str, ...]
    card: BundleCard
    limits: Limits
    taken: set[Path] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def write(self, detection: Detection) -> tuple[Findings, list[Path]]:
        """Return the findings, with the time that writing took, and the files."""
        if self.output is None:
            return detection.findings, []
        import time

        from ichor.findings import FindingsWarning
        from ichor.reading.files import shown
        from ichor.reporting import not_written, report_folder, write_report

        started = time.perf_counter()
        within = None if detection.path is None else shown(os.fspath(detection.path))
        folder = report_folder(self.output, detection.findings.input, self.taken, within)
        results = self._results(detection)
        noticed = (
            [FindingsWarning(code=n.code, message=n.message) for n in results.notices] if results else []
        )
        findings = detection.findings.replace(warnings=[*detection.findings.warnings, *noticed])
        written = write_report(findings, detection.exam, folder, self.formats, self.card)
        written += results.save(folder / _RESULTS) if results else []
        for reason in not_written(findings, detection.exam, self.formats):
            self.notes.append(f"{findings.input}: {reason}")
        seconds = findings.seconds.replace(report=round(time.perf_counter() - started, 4))
        return findings.replace(seconds=seconds), written

    def _results(self, detection: Detection) -> Results | None:
        """Make DICOM objects where they are asked for."""
        if not self.kinds or detection.path is None:
            return None
        from ichor.results import make_results

        return make_results(
            detection.findings,
            detection.exam,
            detection.path,
            self.kinds,
            card=self.card,
            limits=self.limits,
        )


class _Show:
    """Shows each result as it comes: JSON or a table on standard output, complaints on standard error."""

    def __init__(self, as_json: bool, progress: ProgressLine, identity_limits: Limits | None = None) -> None:
        self.identity_limits = identity_limits
        self.as_json = as_json
        self.progress = progress
        self.shown = self.suspected = self.refused = 0
        self._console: Console | None = None

    def __call__(self, findings: Findings, written: list[Path], detection: Detection) -> None:
        """Show one result."""
        self.progress.clear()
        self.shown += 1
        self.refused += not findings.assessable
        self.suspected += bool(findings.positive.any)
        if self.as_json:
            _print_json(findings)
        else:
            from ichor.reporting import print_table

            print_table(findings, self.console, () if quiet() else written, self._identity(detection))
        both_seen = not self.as_json and sys.stdout.isatty() and sys.stderr.isatty()
        if not both_seen:  # else the table has just said it to the same eyes
            _complain(findings, warnings_too=self.as_json)

    def _identity(self, detection: Detection) -> str:
        """Whose study it is, where the user asked for it."""
        exam, path = detection.exam, detection.path
        if self.identity_limits is None or exam is None or path is None or not exam.source.study_uid:
            return ""
        from ichor.reading.patient_identity import patient_identity

        found = patient_identity(path, exam.source.study_uid, self.identity_limits)
        return found.words if found else ""

    @property
    def console(self) -> Console:
        """Standard output; as wide as the terminal, else wide enough for a sentence."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(highlight=False)
            if not self._console.is_terminal:
                self._console = Console(highlight=False, width=120)
        return self._console

    def summary(self) -> None:
        """Print one line after several results."""
        if self.as_json or self.shown < 2:
            return
        rest = self.shown - self.suspected - self.refused
        self.console.print(
            f"{self.shown} results: {self.suspected} suspected, {rest} not suspected, "
            f"{self.refused} not assessed"
        )


def _print_json(findings: Findings) -> None:
    """Write bytes: the line must be UTF-8 whatever the terminal's encoding.

    A file's name may hold bytes that are no text; their escapes by ``backslashreplace`` are JSON's own.
    """
    line = (findings.to_json() + "\n").encode("utf-8", "backslashreplace")
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(line.decode("utf-8"))
    else:
        buffer.write(line)
    sys.stdout.flush()


def _complain(findings: Findings, *, warnings_too: bool) -> None:
    """Put refusals, and warnings where asked, on standard error: one line each."""
    from ichor.reporting.words import printable, refusals

    refused = refusals(findings)
    name = printable(findings.input)
    for w in refused:
        print(f"{name}: not assessed: {printable(w.message)} [{w.code}]", file=sys.stderr)
    if warnings_too:
        for w in findings.warnings:
            if w not in refused:
                print(f"{name}: warning: {printable(w.message)} [{w.code}]", file=sys.stderr)
    sys.stderr.flush()
