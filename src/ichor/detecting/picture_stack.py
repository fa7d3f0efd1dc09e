"""Pictures of one exam, put together: one stack of slices, one window, one summary of what was noticed."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ichor.detecting.picture_estimate import PictureEstimate, shared_estimator
from ichor.detecting.picture_window import with_window
from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam, Geometry, GreyWindow, Picture, Source
from ichor.notices import Notice, notice
from ichor.preparing.stacks import picture_geometry, picture_volume
from ichor.reading.geometry_notices import MIN_COVERAGE_MM, MIN_SLICES

__all__ = ["PictureStack", "stacked"]

Result = Exam | Picture | RefusedInput

_BLACK = np.zeros((1, 1), np.uint8)
_MEASURED = 9
"""Pictures of which the window is measured, from the middle of the stack: its ends are neck and vertex."""
_MIDDLE = (0.3, 0.85)
_MOST_LENGTH_MM = 20.0
"""Between two slices, and of one pixel: more is a number in another unit."""
_REMEDY = "export the slices of one series again, or have each picture assessed alone, without --as-exam"


@dataclass(frozen=True)
class PictureStack:
    """How the pictures of one folder or archive lie in one exam.

    Attributes
    ----------
    step_mm
        mm from one picture to the next.
    spacing_mm
        mm between pixels of the files; None where it is not known: then no volume is given.
    top_first
        Whether the first picture by name is the highest; by default it is the lowest.

    Raises
    ------
    UsageError
        Where a length is none that an exam can have.
    """

    step_mm: float
    spacing_mm: float | None = None
    top_first: bool = False

    def __post_init__(self) -> None:
        for name, value in (("step", self.step_mm), ("spacing", self.spacing_mm)):
            if value is not None and not 0 < value <= _MOST_LENGTH_MM:
                raise UsageError(
                    f"{name}: found {value:g} mm; expected more than 0, at most {_MOST_LENGTH_MM:g}"
                )

    def geometry(self, places: Sequence[int], n: int) -> Geometry:
        """Lay the pictures at ``places`` of ``n`` one above the other, the lowest first."""
        heights = [self.step_mm * (n - 1 - k if self.top_first else k) for k in places]
        spacing = self.spacing_mm
        return replace(
            picture_geometry(len(places)),
            positions=np.stack([np.zeros(len(places)), np.zeros(len(places)), np.sort(heights)], axis=1),
            spacing=picture_geometry().spacing if spacing is None else (spacing, spacing),
            spacing_known=spacing is not None,
            orientation_known=False,
        )


def stacked(
    results: Iterable[Result], path: str, stack: PictureStack, voxels: int
) -> Iterator[Exam | RefusedInput]:
    """Put the pictures of each folder within one input together; what is an exam already is given as it is.

    Parameters
    ----------
    results
        Of reading that input.
    path
        The input, as its results name it.
    stack
        How the pictures lie.
    voxels
        The most that an exam may have.

    Yields
    ------
    Exam or RefusedInput
        One a folder that holds pictures, in the order of reading.
    """
    in_order = os.path.isdir(path)  # noqa: PTH112 - folder by folder; archives come in any order
    groups: dict[str, list[Picture | RefusedInput]] = {}
    for result in results:
        if isinstance(result, Exam):
            yield result
            continue
        name = result.source if isinstance(result, RefusedInput) else result.source.input
        if isinstance(result, RefusedInput) and (name == path or not _of_picture(result)):
            groups = {}  # what was read so far is not the whole exam
            yield result
            continue
        group = _group(name, path)
        if in_order and group not in groups:
            yield from _exams(groups, stack, voxels)
            groups = {}
        groups.setdefault(group, []).append(result)
    yield from _exams(groups, stack, voxels)


def _of_picture(refusal: RefusedInput) -> bool:
    """Tell the refusal of a picture from that of a study."""
    return not refusal.study_uid and not refusal.series_uid


def _group(name: str, path: str) -> str:
    """Name the folder that a file lies in: ``path`` itself, or one within it."""
    within = name.removeprefix(path)
    end = max(within.rfind("/"), within.rfind(os.sep))
    return path + within[: max(end, 0)]


def _exams(
    groups: dict[str, list[Picture | RefusedInput]], stack: PictureStack, voxels: int
) -> Iterator[Exam | RefusedInput]:
    for name, results in groups.items():
        try:
            yield _exam(name, sorted(results, key=_natural), stack, voxels)
        except RefusedInput as refusal:
            yield refusal


def _natural(result: Picture | RefusedInput) -> list[tuple[int, int, str]]:
    """Order of names as people number them: 9 stands before 10."""
    name = result.source if isinstance(result, RefusedInput) else result.source.input
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _exam(name: str, results: list[Picture | RefusedInput], stack: PictureStack, voxels: int) -> Exam:
    """Make one exam of the pictures of one folder, in their order.

    Raises
    ------
    RefusedInput
        Where they cannot be the slices of one exam.
    """
    there = [(k, result) for k, result in enumerate(results) if isinstance(result, Picture)]
    if not there:
        first = next(r for r in results if isinstance(r, RefusedInput))
        raise (
            first
            if len(results) == 1
            else _refusal(
                name, first.code, f"{len(results)} pictures of which none can be read", "slices of a head"
            )
        )
    pictures = [picture for _, picture in there]
    _check(name, pictures, stack, voxels)
    notices = [_stack_notice(len(pictures), stack), *_summary(pictures)]
    if missing := len(results) - len(pictures):
        were = "1 picture was" if missing == 1 else f"{missing} pictures were"
        text = f"{were} left out (broken, empty, or no slice); the place in the stack stays empty."
        notices.append(notice("slice_unreadable", text))
    greys = _alike(pictures)
    window, of_window = _window(name, greys)
    geometry = stack.geometry([k for k, _ in there], len(results))
    volume = np.empty((len(pictures), *pictures[0].file_shape), np.int16)
    for k, picture in enumerate(greys[::-1] if stack.top_first else greys):
        row, column, rows, columns = picture.box
        black, slice_ = (replace(picture, grey=grey, window=window) for grey in (_BLACK, picture.grey))
        volume[k] = picture_volume(black)[0]
        volume[k, row : row + rows, column : column + columns] = picture_volume(slice_)[0]
    seconds = sum(picture.read_seconds for picture in pictures)
    return Exam(volume, geometry, Source(name, "picture"), (*notices, *of_window), seconds)


def _check(name: str, pictures: list[Picture], stack: PictureStack, voxels: int) -> None:
    """Refuse what are not the slices of one exam, pixel by pixel."""
    sizes = Counter(picture.file_shape for picture in pictures)
    if len(sizes) > 1:
        shown = ", ".join(f"{n} of {rows} x {columns}" for (rows, columns), n in sizes.most_common(3))
        raise _refusal(
            name, "pictures_no_stack", f"pictures of {len(sizes)} sizes ({shown} pixels)", "one size"
        )
    if any(n.code == "picture_several" for picture in pictures for n in picture.notices):
        raise _refusal(
            name, "pictures_no_stack", "a picture that shows several slices", "one slice a picture"
        )
    if any(picture.grey.shape != picture.box[2:] for picture in pictures):
        found = "a photograph seen from the side, or a picture of more than 4096 pixels"
        raise _refusal(name, "pictures_no_stack", found, "pictures as a viewer exports them")
    rows, columns = pictures[0].file_shape
    if len(pictures) * rows * columns > voxels:
        raise _refusal(
            name, "limit_exceeded", f"{len(pictures) * rows * columns:,} pixels", f"at most {voxels:,}"
        )
    length = len(pictures) * stack.step_mm
    if len(pictures) < MIN_SLICES or length < MIN_COVERAGE_MM:
        found = f"{len(pictures)} slices over {length:.0f} mm"
        raise _refusal(name, "too_few_slices", found, f"at least {MIN_SLICES} over {MIN_COVERAGE_MM:.0f} mm")


def _refusal(name: str, code: str, found: str, expected: str) -> RefusedInput:
    return RefusedInput(name, code, found=found, expected=expected, remedy=_REMEDY)


def _alike(pictures: list[Picture]) -> list[Picture]:
    """Turn the few that were inverted, or were not, as the most of them are: one export has one polarity."""
    inverted = np.array([any(n.code == "picture_inverted" for n in picture.notices) for picture in pictures])
    most = bool(inverted.mean() > 0.5)
    return [
        picture if one == most else replace(picture, grey=(255 - picture.grey).astype(np.uint8))
        for one, picture in zip(inverted, pictures, strict=True)
    ]


def _window(name: str, pictures: list[Picture]) -> tuple[GreyWindow | None, list[Notice]]:
    """Measure one window for all: that of the middle pictures together.

    Raises
    ------
    RefusedInput
        ``picture_window_too_wide``.
    """
    own = {picture.window for picture in pictures}
    if len(own) == 1 and None not in own:
        return own.pop(), []  # the files hold HU
    low, high = (int(share * (len(pictures) - 1)) for share in _MIDDLE)
    some = np.unique(np.linspace(low, high, _MEASURED).round().astype(int))
    estimates = [shared_estimator().estimate(pictures[k].grey) for k in some]
    with_brain = [e for e in estimates if min(e.head, e.brain) > 0.5] or estimates
    picture, notices = with_window(replace(pictures[some[0]], window=None), _together(with_brain))
    for one in notices:
        if one.decision == "refuse":
            raise _refusal(name, one.code, "pictures in a bone window, or nearly so", "the brain window")
    words = "The window is that of the pictures in the middle. "
    return picture.window, [replace(one, message=words + one.message) for one in notices]


def _together(estimates: list[PictureEstimate]) -> PictureEstimate:
    """Take the middle of several estimates of one window; their errors are not independent, and stay."""

    def middle(value: Callable[[PictureEstimate], float]) -> float:
        return float(np.median([value(e) for e in estimates]))

    return PictureEstimate(
        width=math.exp(middle(lambda e: math.log(e.width))),
        level=middle(lambda e: e.level),
        width_error=middle(lambda e: e.width_error),
        error_hu=middle(lambda e: e.error_hu),
        linear=middle(lambda e: e.linear),
        head=middle(lambda e: e.head),
        brain=middle(lambda e: e.brain),
        white=middle(lambda e: e.white),
    )


def _stack_notice(n: int, stack: PictureStack) -> Notice:
    pixels = (
        "no pixel size, so no volume" if stack.spacing_mm is None else f"pixels of {stack.spacing_mm:g} mm"
    )
    first = "highest" if stack.top_first else "lowest"
    text = (
        f"{n} pictures were taken as one exam, in the order of their names, the first as the {first}, "
        f"{stack.step_mm:g} mm apart, {pixels}, as given; left and right as images are read. HU are taken from greys."
    )
    return notice("picture_stack", text)


_SUMMARIES = {
    "picture_cropped": "Borders were cut",
    "picture_inverted": "Bone was dark, and was turned back",
    "picture_photograph": "A photograph of a screen or film was evened in its light",
    "picture_multipage": "The pictures are pages of one file",
}
"""What is said once of all pictures, by the code of the notice of each."""


def _summary(pictures: list[Picture]) -> list[Notice]:
    """Say once for the stack what was noticed of its pictures."""
    counts = Counter(code for picture in pictures for code in {n.code for n in picture.notices})
    found = ((code, text, counts[code]) for code, text in _SUMMARIES.items() if counts[code])
    return [notice(code, f"{text}: {n} of {len(pictures)} pictures.") for code, text, n in found]
