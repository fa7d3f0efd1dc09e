"""How long detection takes and how much memory: cold command, warm call, a long compressed exam.

Run from the checkout: ``python benchmarks/speed/detect.py [--data DIR] [--runs N]``. The 30-slice exam is one of
CT-ICH, written as an uncompressed DICOM series of 512 x 512; the other is CQ500-CT-0, JPEG Lossless, tilted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ichor.datasets.ct_ich import CtIch
from ichor.exam import Exam

STAGES = ("read", "prepare", "detect", "report")
SLICES = 30


def write_series(folder: Path, data: Path) -> None:
    """Write 30 slices of 512 x 512 from a real exam, as a scanner stores them."""
    root = CtIch(data / "ct-ich")
    patient = max(sorted(root.patients()), key=lambda p: len(root.slice_labels(p)))
    exam = root.load(patient).exam
    which = np.round(np.linspace(0, exam.n_slices - 1, SLICES)).astype(int)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    pixel = exam.geometry.spacing[0] * exam.volume.shape[1] / 512
    for k, source in enumerate(which):
        plane = np.asarray(Image.fromarray(exam.volume[source].astype(np.float32)).resize((512, 512)))
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        d.SOPClassUID, d.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = study, series, frame
        d.Modality, d.BodyPartExamined, d.InstanceNumber = "CT", "HEAD", k + 1
        d.ImageType, d.PatientID, d.PatientName = ["ORIGINAL", "PRIMARY", "AXIAL"], "none", "none"
        d.ImagePositionPatient, d.ImageOrientationPatient = [0, 0, 5.0 * k], [1, 0, 0, 0, 1, 0]
        d.PixelSpacing, d.SliceThickness = [round(pixel, 5), round(pixel, 5)], 5.0
        d.RescaleIntercept, d.RescaleSlope, d.RescaleType = -1024, 1, "HU"
        d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation = 512, 512, 1, "MONOCHROME2"
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
        d.PixelData = np.clip(plane + 1024, 0, 4095).astype(np.uint16).tobytes()
        d.save_as(folder / f"{k:03d}.dcm", enforce_file_format=True)


_CHILD = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
if done.returncode:
    sys.exit(done.stderr.decode())
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def cold(study: Path, output: Path) -> tuple[float, float, dict[str, float]]:
    """Seconds, peak MB and stages of the command in a process of its own, report written."""
    command = [
        sys.executable,
        "-c",
        "from ichor.cli import main; main()",
        "detect",
        str(study),
        "-o",
        str(output),
    ]
    began = time.perf_counter()
    child = [sys.executable, "-c", _CHILD, *command]
    done = subprocess.run(child, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    findings = json.loads(next(output.glob("*/findings.json")).read_text())
    if not findings["assessable"]:
        raise SystemExit(f"the benchmark's own exam was refused: {findings['warnings']}")
    scale = 1e3 if sys.platform.startswith("linux") else 1e6
    return seconds, int(done.stdout) / scale, findings["seconds"]


def warm(study: Path) -> tuple[float, dict[str, float]]:
    """Seconds and stages of the Python call, the model loaded before."""
    import ichor

    began = time.perf_counter()
    findings = ichor.detect(study)
    return time.perf_counter() - began, findings.seconds.model_dump()


def bare(study: Path) -> float:
    """Seconds of decoding every slice with pydicom and running the graph on the same arrays, nothing else."""
    import ichor
    from ichor.detecting.bundle import load_bundle
    from ichor.detecting.sessions import open_model
    from ichor.preparing import prepare

    exam = ichor.read(study)
    assert isinstance(exam, Exam)  # noqa: S101
    bundle = load_bundle()
    model = open_model(bundle)
    stack = prepare(exam, bundle.manifest.preparation).stack
    files = sorted(p for p in study.rglob("*") if p.is_file())
    began = time.perf_counter()
    for path in files:
        _ = pydicom.dcmread(path).pixel_array
    for start in range(0, len(stack), model.batch):
        model.session.run(["map", "slice"], {"stack": stack[start : start + model.batch]})
    return time.perf_counter() - began


def repeat(times: int, run: Callable[[], tuple[float, ...]]) -> list[tuple[float, ...]]:
    return [run() for _ in range(times)]


def stages(found: list[dict[str, float | None]]) -> list[str]:
    columns = [[f[s] for f in found if f.get(s) is not None] for s in STAGES]
    return [f"{median(c):.2f}" if c else "" for c in columns]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; seconds, "
        f"median of {arguments.runs} runs (lowest-highest)"
    )
    print()
    print("| what | total | read | prepare | detect | report | peak MB | bare | above bare | aim |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        short = Path(temporary) / "short"
        short.mkdir()
        write_series(short, arguments.data)
        exams = (
            ("30 slices", short, "< 3 s, < 700 MB", "< 1 s"),
            ("60 slices, JPEG Lossless", arguments.data / "cq500" / "CQ500-CT-0", "< 4 s", ""),
        )
        for name, study, aim_cold, aim_warm in exams:
            runs = [cold(study, Path(temporary) / f"{name}-{k}") for k in range(arguments.runs)]
            row(
                f"{name}, cold command",
                [r[0] for r in runs],
                [r[2] for r in runs],
                max(r[1] for r in runs),
                None,
                aim_cold,
            )
            warm(study)  # opens the model
            # Side by side, so that whatever else runs on the machine slows both.
            pairs = [(warm(study), bare(study)) for _ in range(arguments.runs)]
            row(
                f"{name}, warm call",
                [w[0] for w, _ in pairs],
                [w[1] for w, _ in pairs],
                None,
                [(w[0], b) for w, b in pairs],
                aim_warm,
            )


def row(
    name: str,
    seconds: list[float],
    found: list[dict[str, float]],
    peak: float | None,
    against: list[tuple[float, float]] | None,
    aim: str,
) -> None:
    total = f"{median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
    bare_seconds = share = ""
    if against:
        bare_seconds = f"{median(b for _, b in against):.2f}"
        share = f"{median((w - b) / w for w, b in against):.0%}"
        aim = f"{aim}, < 30 % above bare".lstrip(", ")
    cells = (name, total, *stages(found), f"{peak:.0f}" if peak else "", bare_seconds, share, aim)
    print("|", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
