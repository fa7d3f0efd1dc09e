"""The window of a picture: taken from the file where it says it, else measured, else the brain window.

A picture in an ordinary brain window is left as it is: the networks were made for such pictures, and a measurement has
an error. Another window is taken only where the estimate is sure of it.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ichor.detecting.picture_estimate import BRAIN_HU, PictureEstimate, grey_of, shared_estimator
from ichor.exam import Exam, GreyWindow, Picture
from ichor.notices import Notice, notice
from ichor.preparing.windows import BRAIN

__all__ = ["measured", "with_window"]

_LEAST_LINEAR = 0.5
_MOST_WIDTH_ERROR = 0.7
"""Of the logarithm: the width may be twice or half of it."""
_MOST_ERROR = 0.2
"""Of the place of brain's grey, as a share of all greys."""
_SURELY_WIDER, _SURELY_NARROWER = 2.1, 1.25
"""Standard deviations by which an estimate must lie off the brain window: in doubt a picture is taken to be in it.
To be wider takes more: in a window that is taken too wide blood becomes as bright as bone."""
_NEAR_RATIO, _NEAR_PLACE = 1.25, 0.1
"""Of width and of brain's place, within which a picture is taken to be in the brain window, however sure it is."""
_SURELY_BONE = 1.25
"""The same, by which it must lie beyond the widest window."""
_PLACE_SPREAD = 0.075
"""Standard deviation of the place of brain's grey among pictures in the brain window."""
_WIDTH_SPREAD = 0.8
"""Standard deviation of the logarithm of the widths in use, around that of the brain window."""
_COMMON = (
    *((40, 120), (40, 100), (50, 150), (40, 150), (35, 135), (30, 60), (35, 40), (40, 40), (32, 8)),
    *((80, 200), (75, 215), (50, 350), (40, 380), (40, 400)),
)
"""Level and width as viewers offer them. Of a measured window the place of brain's grey is surer than the width, and
those in use differ in it: the width of the nearest one is better than the measured one."""
_AS_COMMON = 2.0
"""Standard deviations within which a measured window is taken to be a common one."""
_AT_ITS_PLACE = 1.0
"""The same, of the place of brain's grey alone."""
_BRAIN_SPREAD_HU = 4.0
"""Standard deviation of brain's HU over patients and scanners."""
_WIDEST_SOFT = 400.0
"""HU; the widest window in which soft tissue is looked at. What is measured as wider is this one, or a bone window."""
_WIDEST = 700.0
"""HU; in a wider window grey and white matter differ by less than four greys, and fresh blood hardly by more."""


def measured(subject: Exam | Picture) -> tuple[Exam | Picture, list[Notice], PictureEstimate | None]:
    """Measure a single slice before it is prepared.

    Parameters
    ----------
    subject
        As read.

    Returns
    -------
    subject, notices, estimate
        A picture has its window, and what is said of that; None is estimated of an exam of several slices.
    """
    if subject.n_slices > 1:
        return subject, [], None
    estimate = shared_estimator().estimate(grey_of(subject))
    if isinstance(subject, Exam):
        return subject, [], estimate
    return *with_window(subject, estimate), estimate


def with_window(picture: Picture, estimate: PictureEstimate) -> tuple[Picture, list[Notice]]:
    """Give a picture the window by which it is turned into HU.

    Parameters
    ----------
    picture
        As read.
    estimate
        Of it.

    Returns
    -------
    picture, notices
        The same with its window, and what is said of that; a notice that refuses means that no verdict may be given.
    """
    if picture.window is not None:
        return picture, []
    reason = _unknown(estimate)
    if reason:
        window = GreyWindow(BRAIN.level, BRAIN.width, "assumed")
        text = (
            f"The window of this picture cannot be measured ({reason}); level {BRAIN.level:g}, width {BRAIN.width:g} "
            "was assumed. A negative result means nothing; give the DICOM files, or a picture in the brain window."
        )
        return replace(picture, window=window), [notice("picture_window_unknown", text)]
    error = round(estimate.error_hu, 1)
    if math.log(estimate.width / _WIDEST) > _SURELY_BONE * estimate.width_error:
        window = GreyWindow(round(estimate.level, 1), round(estimate.width, 1), "measured", error)
        text = (
            f"This picture is in a bone window, or nearly so (measured: {_shown(estimate.level, estimate.width)}): "
            "blood and brain have the same grey there. Give the DICOM files, or a picture in the brain window."
        )
        return replace(picture, window=window), [notice("picture_window_too_wide", text)]
    if _is_brain_window(estimate):
        window = GreyWindow(BRAIN.level, BRAIN.width, "assumed", error)
        text = (
            f"Taken as a brain window, {_shown(BRAIN.level, BRAIN.width)} (measured: "
            f"{_shown(estimate.level, estimate.width)})."
        )
        return replace(picture, window=window), [notice("picture_window", text)]
    level, width = _nearest(estimate)
    error = round(estimate.error_hu * width / estimate.width, 1)
    window = GreyWindow(round(level, 1), round(width, 1), "measured", error)
    if estimate.width > _WIDEST:
        text = (
            f"The window of this picture is very wide, perhaps a bone window; {_shown(level, width)} was taken. A "
            "negative result means nothing; give the DICOM files, or a picture in the brain window."
        )
        return replace(picture, window=window), [notice("picture_window_unknown", text)]
    text = (
        f"The window was measured: {_shown(level, width)}, brain within about {error:.0f} HU; greys were turned back "
        "by it."
    )
    return replace(picture, window=window), [notice("picture_window", text)]


def _shown(level: float, width: float) -> str:
    return f"level {level:.0f}, width {width:.0f}"


def _nearest(estimate: PictureEstimate) -> tuple[float, float]:
    """Level and width of the common window that an estimate is nearest to; its own where it is near none.

    The measured width is drawn towards the brain window's, the more the less sure it is.
    """
    place = _place(estimate.level, estimate.width)
    place_error = estimate.error_hu / estimate.width
    trusted = _WIDTH_SPREAD**2 / (_WIDTH_SPREAD**2 + estimate.width_error**2)
    likely = BRAIN.width * (estimate.width / BRAIN.width) ** trusted
    best, nearest = _AS_COMMON**2, None
    for level, width in _COMMON:
        spread = math.hypot(place_error, _BRAIN_SPREAD_HU / width)
        off = (_place(level, width) - place) / spread
        ratio = math.log(likely / width) / estimate.width_error
        if abs(off) <= _AT_ITS_PLACE and off**2 + ratio**2 < best:
            best, nearest = off**2 + ratio**2, (float(level), float(width))
    if nearest is not None:
        return nearest
    width = min(likely, _WIDEST_SOFT)
    return BRAIN_HU + (0.5 - place) * width, width


def _place(level: float, width: float) -> float:
    """Place of brain's grey between black (0) and white (1)."""
    return 0.5 + (BRAIN_HU - level) / width


def _is_brain_window(estimate: PictureEstimate) -> bool:
    """Whether the measured window is not surely another than the brain window."""
    off = _place(estimate.level, estimate.width) - _place(BRAIN.level, BRAIN.width)
    if 1 / _NEAR_RATIO < estimate.width / BRAIN.width < _NEAR_RATIO and abs(off) < _NEAR_PLACE:
        return True
    ratio = math.log(estimate.width / BRAIN.width) / estimate.width_error
    if ratio < -_SURELY_NARROWER:
        return False
    place = off / math.hypot(estimate.error_hu / estimate.width, _PLACE_SPREAD)
    return math.hypot(place, ratio) < _SURELY_WIDER


def _unknown(estimate: PictureEstimate) -> str:
    """Say why a window cannot be measured; nothing where it can."""
    if estimate.linear < _LEAST_LINEAR:
        return "its greys follow no window: inverted, or changed by a curve"
    if estimate.width_error > _MOST_WIDTH_ERROR or estimate.error_hu > _MOST_ERROR * estimate.width:
        return "it fits several"
    return ""
