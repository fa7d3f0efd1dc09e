"""Does quality tell heads from everything else? Prints how many of each kind of input it accepts.

Run from the checkout: ``python benchmarks/accuracy/quality.py [--data DIR] [--photographs DIR] [--only GROUP]``.
The headers of the DICOM files are ignored on purpose: the pixels alone must tell.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from scipy import ndimage

from ichor.datasets.ct_ich import CtIch
from ichor.datasets.phe_sich import PheSich
from ichor.detecting.quality import assess
from ichor.exam import Exam, Geometry, Picture, Source
from ichor.preparing import Preparation, prepare
from ichor.preparing.stacks import picture_geometry

Subject = Exam | Picture
Cases = Iterator[tuple[str, Subject]]
HEAD = "CT2_J2KR"
"""The one file in transfer_syntaxes_chest that shows a head (with contrast)."""
X, Y = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])


def picture(grey: np.ndarray) -> Picture:
    grey = np.ascontiguousarray(grey, np.uint8)
    return Picture(grey, Source("picture", "picture"), (0, 0, *grey.shape), grey.shape)


def picture_file(path: Path) -> Picture:
    """Read with the package's own reader, which cuts borders away; plain grey where it refuses."""
    from ichor.errors import IchorError

    try:
        import ichor

        found = ichor.read(path)
        if isinstance(found, Picture):
            return found
    except (ImportError, AttributeError, IchorError):
        pass
    with Image.open(path) as image:
        return picture(np.asarray(image.convert("L")))


def dicom_exams(folder: Path, *, heads: bool = False) -> Cases:
    """Stack what a folder holds by series and size, whatever the headers call it."""
    groups: dict[tuple[str, tuple[int, int]], list[tuple[float, np.ndarray, float]]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and (p.name == HEAD) is heads):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = pydicom.dcmread(path, force=True)
                pixels = data.pixel_array.astype(np.float32)
        except Exception:  # whatever pydicom cannot read is no case here
            continue
        if pixels.ndim != 2:
            continue
        hu = pixels * float(data.get("RescaleSlope", 1) or 1) + float(data.get("RescaleIntercept", 0) or 0)
        z = float((data.get("ImagePositionPatient") or [0, 0, len(groups)])[2])
        spacing = float((data.get("PixelSpacing") or [0.7])[0])
        key = (str(data.get("SeriesInstanceUID", path.name)), hu.shape)
        groups.setdefault(key, []).append((z, np.clip(hu, -1024, 32000).astype(np.int16), spacing))
    for n, stack in enumerate(groups.values()):
        stack.sort(key=lambda s: s[0])
        z = np.array([s[0] for s in stack])
        z = z if len(z) == 1 or np.diff(z).min() > 0.1 else 5.0 * np.arange(len(z))
        positions = np.stack([np.zeros(len(z)), np.zeros(len(z)), z], axis=1)
        geometry = Geometry(positions, X, Y, (stack[0][2], stack[0][2]))
        yield f"{folder.name}-{n}", Exam(np.stack([s[1] for s in stack]), geometry, Source("raw", "dicom"))


def slices_as_pictures(exams: Cases, level: float, width: float) -> Cases:
    """Slices of exams, as a person would save them from a viewer."""
    for name, exam in exams:
        if isinstance(exam, Exam):
            for k in range(0, exam.n_slices, max(1, exam.n_slices // 3)):
                grey = np.clip((exam.volume[k] - level) / width + 0.5, 0, 1) * 255
                yield f"{name}/{k}", picture(grey)


def made_up(as_exam: bool) -> Cases:
    """Noise, gradients and shapes, as a picture or as a volume of HU."""
    rng = np.random.default_rng(4)
    rows, columns = np.mgrid[:384, :384]
    radius = np.hypot(rows - 192, columns - 192)
    angle = np.arctan2(rows - 192, columns - 192)
    smooth = ndimage.gaussian_filter(rng.normal(size=(384, 384)), 12)
    planes = {
        "black": np.zeros((384, 384)),
        "grey": np.full((384, 384), 0.5),
        "white": np.ones((384, 384)),
        "noise": rng.random((384, 384)),
        "clouds": np.clip(0.5 + smooth / smooth.std() / 4, 0, 1),
        "gradient": columns / 383,
        "disc": np.where(radius < 150, 0.5, 0),
        "empty ring": np.where((radius > 135) & (radius < 150), 1.0, 0),
        "star": np.where(radius < 100 + 45 * np.cos(7 * angle), 0.6, 0),
        "square frame": np.where(np.maximum(abs(rows - 192), abs(columns - 192)) < 160, 0.4, 1.0),
        "stripes": (columns // 16) % 2,
        "checks": (columns // 24 + rows // 24) % 2,
    }
    for name, plane in planes.items():
        if as_exam:
            # Black is air and white is bone.
            hu = np.repeat((plane * 2000 - 1000)[None], 20, axis=0).astype(np.int16)
            geometry = picture_geometry(20)
            yield name, Exam(hu, geometry, Source("made", "nifti"))
        else:
            yield name, picture(plane * 255)


def groups(data: Path, photographs: Path | None) -> dict[str, tuple[bool, Callable[[], Cases]]]:
    odd = data / "dicom-oddities"
    head_pictures = data / "head-ct-hemorrhage" / "head_ct"

    def files(folder: Path) -> Cases:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif"):
                yield path.name, picture_file(path)

    def folder(name: str) -> Callable[[], Cases]:
        return lambda: dicom_exams(odd / name)

    others = ("abdomen", "transfer_syntaxes_chest", "philips_phantom", "mr")
    out: dict[str, tuple[bool, Callable[[], Cases]]] = {
        "ct-ich": (True, lambda: ((i.patient, i.exam) for i in CtIch(data / "ct-ich"))),
        "phe-sich": (True, lambda: ((i.patient, i.exam) for i in PheSich(data / "phe-sich"))),
        "cq500": (True, lambda: dicom_exams(data / "cq500" / "CQ500-CT-0")),
        "ge_head": (True, folder("ge_head_tilt_varspacing")),
        HEAD: (True, lambda: dicom_exams(odd / "transfer_syntaxes_chest", heads=True)),
        "head-pictures": (True, lambda: files(head_pictures)),
        **{name: (False, folder(name)) for name in (*others, "wg04_ct")},
        "made-up-exams": (False, lambda: made_up(True)),
        "made-up-pictures": (False, lambda: made_up(False)),
        "body-pictures": (
            False,
            lambda: (
                case
                for name in others
                for level, width in ((40, 80), (40, 380), (60, 350))
                for case in slices_as_pictures(dicom_exams(odd / name), level, width)
            ),
        ),
    }
    if photographs is not None:
        out["photographs"] = (False, lambda: files(photographs))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--photographs", type=Path, help="a folder of ordinary photographs")
    parser.add_argument("--only", action="append", help="this group alone; may repeat")
    arguments = parser.parse_args()
    print("| group | should be | n | accepted | refused | wrong | notices | ms each |")
    print("|---|---|---|---|---|---|---|---|")
    for group, (wanted, cases) in groups(arguments.data, arguments.photographs).items():
        if arguments.only and group not in arguments.only:
            continue
        n, accepted, spent = 0, 0, 0.0
        wrong: list[str] = []
        codes: dict[str, int] = {}
        for name, subject in cases():
            prepared = prepare(subject, Preparation())
            started = time.perf_counter()
            notices = assess(subject, prepared)
            spent += time.perf_counter() - started
            good = not any(x.decision == "refuse" for x in notices)
            n += 1
            accepted += good
            if good != wanted:
                wrong.append(name)
            for code in {x.code for x in notices}:
                codes[code] = codes.get(code, 0) + 1
        said = ", ".join(f"{c} {k}" for c, k in codes.items())
        names = ", ".join(wrong[:12])
        verdict = "accepted" if wanted else "refused"
        row = (group, verdict, n, accepted, n - accepted, names, said, round(1000 * spent / max(n, 1)))
        print("|", " | ".join(map(str, row)), "|")


if __name__ == "__main__":
    main()
