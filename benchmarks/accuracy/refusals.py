"""Are pictures of anything but a head CT slice refused, and real slices not? Shares with Wilson intervals.

Usage: python -m benchmarks.accuracy.refusals [--data DIR] [--photographs DIR] [--mr DIR] [--most N] [--show DIR]

Everything is saved as a picture file and read as a user's would be. ``--photographs`` names a folder of
ordinary photographs and graphics, ``--mr`` one of MR heads as NIfTI; docs/how-to/pictures-and-photographs.md
says which were used. Real slices: ``ct-ich`` from 40 to 85 % of the exam's height (below lies the base,
above the vertex) and at any height (in 40/120, as it is stored), ``phe-sich`` those labelled as bleeding and at any
height, ``aisd`` and ``rsna-slices`` whatever they show; sampled evenly over all exams; all of ``head-ct-hemorrhage``.
An interval treats pictures as independent; ``sources`` says how many truly are.
"""

from __future__ import annotations

import csv
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.shared.arguments import parser
from benchmarks.shared.camera import STRENGTHS, photograph, viewer
from benchmarks.shared.cases import dicom_exams, made_up_pictures
from benchmarks.shared.tables import heading, row
from ichor.detecting.picture_window import measured
from ichor.detecting.quality import assess
from ichor.exam import Picture
from ichor.preparing import Preparation, prepare
from ichor.reading import read_all

Cases = Iterator[tuple[str, Image.Image]]
"""The source's name, and a picture of it."""
_WINDOWS = ((40, 80), (40, 380), (400, 1800))


def refused(path: Path) -> bool:
    """Whether no slice of a picture would be assessed."""
    for subject in read_all(path):
        if isinstance(subject, Picture):
            shown, of_window, estimate = measured(subject)
            notices = [*of_window, *assess(shown, prepare(shown, Preparation()), estimate)]
            if not any(n.decision == "refuse" for n in notices):
                return False
    return True


def wilson(k: int, n: int) -> tuple[float, float]:
    """95 % interval of a share of ``k`` in ``n``."""
    z, p = 1.959964, k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def varied(name: str, image: Image.Image, seed: int) -> Cases:
    """Vary a photograph: as it is, grey, mirrored, turned, and two parts of it."""
    rng = np.random.default_rng(seed)
    image.thumbnail((1000, 1000))
    yield name, image
    yield name, image.convert("L")
    yield name, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).convert("L")
    yield name, image.transpose(Image.Transpose.ROTATE_90).convert("L")
    for mode in ("RGB", "L"):
        width, height = (round(n * rng.uniform(0.45, 0.7)) for n in image.size)
        left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
        yield name, image.crop((left, top, left + width, top + height)).convert(mode)


def photographs(folder: Path) -> Cases:
    for seed, path in enumerate(sorted(folder.iterdir())):
        with Image.open(path) as image:
            yield from varied(path.name, image.convert("RGB"), seed)


def graphics() -> Cases:
    """Draw pages of text, charts, and what quality's made-up planes show; each is a source."""
    rng = np.random.default_rng(8)
    for k in range(12):
        page = Image.new("L", (700, 900), 255 if k % 2 else 12)
        draw = ImageDraw.Draw(page)
        size = int(rng.integers(12, 40))
        for y in range(30, 860, size + 8):
            words = "".join(chr(97 + c) if c < 26 else " " for c in rng.integers(0, 30, 900 // size))
            draw.text((30, y), words, fill=0 if k % 2 else 230, font=ImageFont.load_default(size))
        yield f"text {k}", page
    for k in range(12):
        chart = Image.new("RGB", (640, 480), "white")
        draw = ImageDraw.Draw(chart)
        for x in range(60, 600, 60):
            high = int(rng.integers(40, 400))
            grey = int(rng.integers(40, 200))
            draw.rectangle((x, 440 - high, x + 40, 440), fill=(grey, grey, grey))
        draw.line((50, 440, 620, 440), fill="black", width=3)
        yield f"chart {k}", chart
    for k in range(12):  # coins, plates, wheels: round, bright, on dark
        rows, columns = np.mgrid[:400, :400]
        radius = np.hypot(rows - 200, (columns - 200) * rng.uniform(1, 1.25))
        plane = np.where(radius < 160, rng.uniform(60, 180), 8.0)
        plane = np.where((radius > 160 - rng.uniform(4, 40)) & (radius < 160), rng.uniform(150, 255), plane)
        plane += rng.normal(0, 4, plane.shape) + (columns - 200) * rng.uniform(-0.3, 0.3)
        if k % 3 == 0:
            plane[(rows // 20 + columns // 20) % 2 == 0] *= 0.6
        elif k % 3 == 1:
            plane *= 1 - 0.5 * (np.sin(np.arctan2(rows - 200, columns - 200) * 9) > 0.3)
        else:
            plane = np.where(radius < 60, 220, plane)
        yield f"wheel {k}", Image.fromarray(np.clip(plane, 0, 255).astype(np.uint8))
    for name, subject in made_up_pictures():
        yield name, Image.fromarray(subject.grey)


def bodies(folder: Path) -> Cases:
    """Show every slice of what is no head in brain, abdomen and bone windows."""
    for name, exam in dicom_exams(folder):
        for plane in exam.volume[:: max(1, exam.n_slices // 12)]:
            hu = plane.astype(np.float32)
            for level, width in _WINDOWS:
                yield name, _grey((hu - level) / width + 0.5)


def magnetic(folder: Path) -> Cases:
    """Show slices of MR volumes along their three axes, stretched, as is and negative (like a CT's bone)."""
    import nibabel

    for path in sorted(folder.glob("*.nii*")):
        values = np.asarray(nibabel.Nifti1Image.from_filename(path).dataobj, np.float32)
        values = values[..., 0] if values.ndim == 4 else values
        if values.ndim != 3:
            continue
        top = float(np.percentile(values, 99.7))
        for axis in (2, 1, 0):
            n = values.shape[axis]
            for at in np.linspace(0.25, 0.8, 10):
                plane = np.rot90(np.take(values, int(at * n), axis=axis))
                image = _grey(plane / max(top, 1e-6))
                scale = 400 / max(image.size)
                image = image.resize(
                    (max(80, round(image.width * scale)), max(80, round(image.height * scale)))
                )
                yield path.name, image


def _grey(plane: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray((np.clip(plane, 0, 1) * 255).astype(np.uint8))


def screens(cases: Cases, strength: str, every: int) -> Cases:
    """Photograph every so many of them on a screen."""
    for k, (name, image) in enumerate(cases):
        if k % every == 0:
            scene = viewer(np.asarray(image.convert("L")), k)
            yield name, Image.fromarray(photograph(scene, STRENGTHS[strength], k).image)


def ct_ich(data: Path, most: int, low: float = 0.40, high: float = 0.85) -> Cases:
    paths = []
    for folder in sorted((data / "ct-ich" / "brain").iterdir()):
        slices = sorted(folder.glob("*.jpg"))
        paths += slices[round(low * len(slices)) : round(high * len(slices))]
    yield from _files(paths, most)


def every_slice(data: Path, pattern: str, most: int) -> Cases:
    """Show what a data set holds, whatever it shows."""
    yield from _files(sorted(data.glob(pattern)), most)


def phe_sich(data: Path, most: int) -> Cases:
    with (data / "phe-sich" / "slices.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["label_hem"] == "1"]
    yield from _files([data / "phe-sich" / r["file"] for r in rows], most)


def web(data: Path, most: int) -> Cases:
    for name, image in _files(sorted((data / "head-ct-hemorrhage" / "head_ct").glob("*.png")), most):
        yield name.split("/")[1], image


def _files(paths: list[Path], most: int) -> Cases:
    for k in np.unique(np.linspace(0, len(paths) - 1, min(most, len(paths))).astype(int)):
        with Image.open(paths[k]) as image:
            yield f"{paths[k].parent.name}/{paths[k].stem}", image.convert("RGB")


def main() -> None:
    known = parser(__doc__)
    known.add_argument("--photographs", type=Path, help="a folder of ordinary photographs")
    known.add_argument("--mr", type=Path, help="a folder of MR heads, NIfTI")
    known.add_argument("--only", action="append", help="this group alone; may repeat")
    known.add_argument("--most", type=int, default=300, help="real slices taken of a data set")
    known.add_argument("--show", type=Path, help="save what went wrong here")
    arguments = known.parse_args()
    data, odd = arguments.data, arguments.data / "dicom-oddities"
    others: dict[str, Cases] = {
        f"{name} (CT or MR, three windows)": bodies(odd / name)
        for name in ("abdomen", "transfer_syntaxes_chest", "philips_phantom", "wg04_ct", "mr")
    }
    others["graphics, drawn"] = graphics()
    if arguments.mr:
        others["MR heads"] = magnetic(arguments.mr)
        others["MR heads, photographed (medium)"] = screens(magnetic(arguments.mr), "medium", 10)
    if arguments.photographs:
        others["ordinary photographs"] = photographs(arguments.photographs)
        others["ordinary photographs, photographed on a screen (medium)"] = screens(
            photographs(arguments.photographs), "medium", 6
        )
    heads: dict[str, Cases] = {
        "head-ct-hemorrhage": web(data, arguments.most),
        "ct-ich, 40 to 85 % of the height": ct_ich(data, arguments.most),
        "phe-sich, bleeding slices": phe_sich(data, arguments.most),
        "ct-ich, any height": ct_ich(data, arguments.most, 0, 1),
        "phe-sich, any height": every_slice(data, "phe-sich/**/*.jpg", arguments.most),
        "aisd, any height": every_slice(data, "aisd/brain/**/*.png", arguments.most),
        "rsna-slices, any height": every_slice(data, "rsna-slices/images/*.jpg", arguments.most),
        **{
            f"ct-ich, photographed ({s})": screens(ct_ich(data, arguments.most), s, 5)
            for s in ("light", "medium", "strong")
        },
    }
    heading("pictures", "should be", "n", "sources", "refused", "share", "95 % interval")
    for expected, groups in (("refused", others), ("assessed", heads)):
        n_all = k_all = 0
        names: set[str] = set()
        for group, cases in groups.items():
            if arguments.only and not any(o in group for o in arguments.only):
                continue
            n, k, sources = _count(group, cases, expected == "refused", arguments.show)
            if n:
                _row(group, expected, n, len(sources), k)
            if "photographed" not in group and "drawn" not in group:
                n_all, k_all, names = n_all + n, k_all + k, names | {f"{group} {s}" for s in sources}
        if n_all:
            _row("all of these but drawn and photographed ones", expected, n_all, len(names), k_all)


def _count(group: str, cases: Cases, expected: bool, show: Path | None) -> tuple[int, int, set[str]]:
    n = k = 0
    sources: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        for name, image in cases:
            image.save(path, compress_level=1)
            is_refused = refused(path)
            n, k = n + 1, k + is_refused
            sources.add(name.split("/")[0] if "/" in name else name)
            if is_refused != expected and show is not None:
                show.mkdir(parents=True, exist_ok=True)
                image.save(show / f"{group[:12].replace('/', '-')}-{n}-{name.replace('/', '-')}.png")
    return n, k, sources


def _row(group: str, expected: str, n: int, sources: int, k: int) -> None:
    low, high = wilson(k, n)
    row(group, expected, n, sources, k, f"{k / n:.1%}", f"{low:.1%} to {high:.1%}")


if __name__ == "__main__":
    main()
