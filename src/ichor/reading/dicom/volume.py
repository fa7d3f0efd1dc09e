"""Decoding a sorted series straight into its volume, and saying what the pixels needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ichor.errors import RefusedInput
from ichor.notices import Notice, notice
from ichor.reading.context import ReadContext
from ichor.reading.dicom.dataset import READ_ERRORS, unreadable
from ichor.reading.dicom.decode import LOSSY_SYNTAXES, decode, decode_file
from ichor.reading.dicom.headers import SliceHeader
from ichor.reading.dicom.hounsfield import Assumption, Scale, to_hounsfield
from ichor.reading.dicom.stack import Stack, stack_slices
from ichor.reading.limits import Limits

__all__ = ["MOST_BROKEN", "DecodedSeries", "details", "pixel_notices", "read_middle", "read_volume"]

MOST_BROKEN = 0.2
"""With more of its slices unreadable than this, a series is refused as a whole."""
_MIDDLE = (0.4, 0.55, 0.7)
"""Where in a series a head shows brain and skull: as fractions of its slices, from the base."""


@dataclass(frozen=True)
class DecodedSeries:
    """A series in Hounsfield units.

    Attributes
    ----------
    stack
        The slices that could be decoded.
    volume
        ``(n, rows, columns)`` int16, HU.
    scales
        What each slice needed.
    notices
        What was lost.
    """

    stack: Stack
    volume: NDArray[np.int16]
    scales: tuple[Scale, ...]
    notices: tuple[Notice, ...] = ()


def read_volume(stack: Stack, context: ReadContext) -> DecodedSeries:
    """Decode every slice; a few broken ones are left out, with a notice, and the stack is made again.

    Parameters
    ----------
    stack
        Sorted slices.
    context
        Of the reading.

    Returns
    -------
    DecodedSeries
        The slices that could be decoded.

    Raises
    ------
    RefusedInput
        ``unreadable``, ``limit_exceeded``, or what stacking the remaining slices raises.
    """
    n, rows, columns = len(stack.headers), stack.headers[0].rows, stack.headers[0].columns
    size = f"{n} slices of {rows} x {columns}"
    if n * rows * columns > context.limits.voxels:
        raise context.refuse("voxels", size)
    try:
        # Pages are committed as slices arrive: a series that only claims to be large costs nothing.
        volume = np.empty((n, rows, columns), np.int16)
    except MemoryError:
        raise context.refuse("voxels", f"{size}, more than memory holds") from None
    converted = _convert(stack.headers, volume, context)
    scales = {k: scale for k, scale in enumerate(converted) if isinstance(scale, Scale)}
    refused = [refusal for refusal in converted if isinstance(refusal, RefusedInput)]
    if not refused:
        return DecodedSeries(stack, volume, tuple(scales.values()))
    if n == 1 or all(r.code == "limit_exceeded" for r in refused):
        raise refused[0]
    if len(refused) > MOST_BROKEN * n:
        found = f"{len(refused)} of {n} slices that cannot be decoded (the first: {refused[0].found})"
        raise unreadable(context.source, found, "a whole series")
    return _without_broken(stack, volume, scales, context)


def _convert(
    headers: Sequence[SliceHeader], volume: NDArray[np.int16], context: ReadContext
) -> list[Scale | RefusedInput]:
    """Decode slices into ``volume``; what the values had to decide is decided alike for all of them."""
    out = _convert_some(headers, range(len(headers)), volume, context, None)
    assumed = Counter(s.assumed for s in out.values() if isinstance(s, Scale) and s.assumed != Assumption())
    if assumed:
        usual = assumed.most_common(1)[0][0]
        differing = [k for k, s in out.items() if isinstance(s, Scale) and s.assumed != usual]
        out |= _convert_some(headers, differing, volume, context, usual)
    return [out[k] for k in range(len(headers))]


def _convert_some(
    headers: Sequence[SliceHeader],
    indices: Sequence[int],
    volume: NDArray[np.int16],
    context: ReadContext,
    assumed: Assumption | None,
) -> dict[int, Scale | RefusedInput]:
    """Decode some slices into ``volume``; each file is parsed once."""
    out: dict[int, Scale | RefusedInput] = {}
    by_file: dict[object, list[int]] = {}
    for k in indices:
        by_file.setdefault(headers[k].file.path, []).append(k)
    for members in by_file.values():
        slices = decode_file([headers[k] for k in members], context.limits)
        for k, stored in zip(members, slices, strict=True):
            context.check_time()
            if isinstance(stored, RefusedInput):
                out[k] = stored
                continue
            try:
                out[k] = to_hounsfield(stored, headers[k], volume[k], assumed)
            except READ_ERRORS as error:  # elements that are parsed only when they are asked for
                found = f"a rescale that cannot be read ({type(error).__name__})"
                out[k] = unreadable(headers[k].file.name, found)
    return out


def _without_broken(
    stack: Stack, volume: NDArray[np.int16], scales: dict[int, Scale], context: ReadContext
) -> DecodedSeries:
    """Stack again what could be decoded, and say what is lost."""
    again = stack_slices([stack.headers[k] for k in scales], context.source, single=context.single_file)
    places = {(stack.headers[k].file.path, stack.headers[k].frame): k for k in scales}
    order = [places[h.file.path, h.frame] for h in again.headers]
    before = tuple(n for n in stack.notices if n.decision == "leave_out")
    notices = (*before, *(n for n in again.notices if n not in before))
    n, lost = len(stack.headers), len(stack.headers) - len(scales)
    text = f"{lost} of {n} {'slice' if lost == 1 else 'slices'} could not be decoded; left out."
    return DecodedSeries(
        Stack(again.headers, again.geometry, notices),
        volume[order],
        tuple(scales[k] for k in order),
        (notice("slice_unreadable", text),),
    )


def read_middle(headers: Sequence[SliceHeader], limits: Limits) -> list[NDArray[np.int16]]:
    """HU of three slices from the middle of a series; fewer where some cannot be decoded."""
    ordered = sorted(
        headers, key=lambda h: float(h.position[2]) if h.position is not None else float(h.number or 0)
    )
    out = []
    for k in sorted({int(f * (len(ordered) - 1)) for f in _MIDDLE}):
        header = ordered[k]
        try:
            stored = decode(header, limits)
            hu = np.empty((header.rows, header.columns), np.int16)
            to_hounsfield(stored, header, hu)
        except (RefusedInput, *READ_ERRORS):
            continue
        out.append(hu)
    return out


def details(headers: Sequence[SliceHeader]) -> dict[str, str]:
    """Technical facts of a series, for people."""
    facts = dict(headers[0].facts)
    thickness = sorted({h.thickness for h in headers if h.thickness})
    if thickness:
        facts["slice thickness"] = " and ".join(f"{t:g}" for t in thickness[:4]) + " mm"
    return facts


def pixel_notices(headers: Sequence[SliceHeader], scales: Sequence[Scale]) -> list[Notice]:
    """Say what the pixels of a series needed to become HU."""
    out = []

    def where(name: str) -> list[int]:
        return [k for k, scale in enumerate(scales) if getattr(scale, name)]

    if slices := [k for k, s in enumerate(scales) if s.slope_assumed or s.assumed.intercept is not None]:
        out.append(notice("rescale_assumed", _rescale_text([scales[k] for k in slices], len(scales)), slices))
    if relaid := [k for k, s in enumerate(scales) if s.assumed.layout]:
        layout = scales[relaid[0]].assumed.layout
        shown = f"{layout.bits} {'signed' if layout.signed else 'unsigned'} bits" if layout else ""
        text = f"As declared, values wrap round; {len(relaid)} of {len(scales)} slices were read as {shown}."
        out.append(notice("pixel_layout_contradicted", text, relaid))
    if wrapped := where("wrapped"):
        text = f"The wrapped 12-bit values of {len(wrapped)} of {len(scales)} slices were restored."
        out.append(notice("wrapped_intercept", text, wrapped))
    if len({(s.slope, s.intercept) for s in scales if not s.wrapped}) > 1:
        out.append(
            notice("rescale_varies", "Rescale differs between slices; each was converted with its own.")
        )
    if padded := where("padded"):
        text = f"Padding around the scan was set to air in {len(padded)} of {len(scales)} slices."
        out.append(notice("padding_replaced", text))
    if where("inverted"):
        out.append(
            notice(
                "monochrome1", "Stored for inverted display (MONOCHROME1); Hounsfield units are not affected."
            )
        )
    if any(h.lossy or h.transfer_syntax in LOSSY_SYNTAXES for h in headers):
        out.append(
            notice("lossy_compression", "The pixels went through lossy compression; faint blood may be lost.")
        )
    return out


def _rescale_text(scales: Sequence[Scale], n: int) -> str:
    """Say which of slope and intercept was absent, and what was taken for it."""

    def intercepts(some: Sequence[Scale]) -> str:
        return " and ".join(f"{i:g}" for i in sorted({s.intercept for s in some}))

    slopes = [s for s in scales if s.slope_assumed]
    offsets = [s for s in scales if s.assumed.intercept is not None]
    sentences = []
    if slopes:
        sentences.append(
            f"The rescale slope is absent or no usable number in {len(slopes)} of {n} slices: 1 was assumed"
        )
        if kept := [s for s in slopes if s.assumed.intercept is None]:
            sentences[-1] += f"; the header's intercept {intercepts(kept)} was used"
    if offsets:
        assumed = f"{intercepts(offsets)} was assumed, as the values show"
        sentences.append(
            f"The rescale intercept is absent or no usable number in {len(offsets)} of {n} slices: {assumed}"
        )
    return ". ".join(sentences) + "."
