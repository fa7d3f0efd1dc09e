"""``ichor.detect`` and ``ichor.detect_all``: thin calls of a detector that is kept."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from ichor.detecting.bundle import bundle_state, find_bundle
from ichor.detecting.combining import bundle_parts, open_detector
from ichor.detecting.detector import Detection, Detector, Options
from ichor.detecting.picture_stack import PictureStack
from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam, Picture
from ichor.findings import Findings
from ichor.progress import Progress
from ichor.reading.memory import Readable, name_of

if TYPE_CHECKING:
    from ichor.reading.limits import Limits

__all__ = ["OptionValues", "detect", "detect_all", "shared_detector"]

_MOST_DETECTORS = 3
_detectors: OrderedDict[tuple[tuple[Path, ...], str, str, str, str], tuple[object, Detector]] = OrderedDict()
_lock = threading.Lock()


class OptionValues(TypedDict, total=False):
    """The fields of :class:`~ichor.detecting.detector.Options`, as keywords."""

    threshold: float | None
    sensitivity: float | None
    original_uids: bool
    stack: PictureStack | None


def detect(
    subject: Readable | Exam | Picture,
    *,
    series: str | None = None,
    bundle: str | os.PathLike[str] = "default",
    device: str = "auto",
    engine: str = "auto",
    limits: Limits | None = None,
    isolated: bool = False,
    **options: Unpack[OptionValues],
) -> Findings:
    """Detect hemorrhage in one exam or picture.

    Parameters
    ----------
    subject
        A path that holds one exam or picture, a file opened in binary mode, a list of pydicom's data sets, or what
        :func:`ichor.read` gave.
    series
        Series instance UID (as stored, or hashed) to take instead of the one that the rules choose.
    bundle, device, engine
        See :class:`~ichor.detecting.detector.Detector`; ``A+B`` combines bundles. The model is loaded by the first
        call and kept for the next ones; a bundle that was changed since is loaded again.
    limits
        How much of an input is read; by default those of the environment.
    isolated
        Read in a process of its own, see :func:`ichor.read`.
    **options
        ``threshold``, ``sensitivity``, ``original_uids``, ``stack``: see :class:`~ichor.detecting.detector.Options`.

    Returns
    -------
    Findings
        An input that cannot be assessed gives ``assessable`` False and the reason in ``warnings``.

    Raises
    ------
    UsageError
        Where the path holds several exams: :func:`detect_all` gives each. Where ``series`` or ``limits`` is given for
        something that was read already.
    """
    chosen = Options(**options)
    if isinstance(subject, Exam | Picture):
        if series is not None or limits is not None:
            raise UsageError(
                f"{'series' if series is not None else 'limits'}: found it beside an exam that was read already; "
                "expected it only with a path; give it to ichor.read"
            )
        return shared_detector(bundle, device, engine).detect(subject, chosen)

    from ichor.reading import read_all

    detector = shared_detector(bundle, device, engine)
    detector.check(chosen)
    read = read_all(subject, series=series, limits=limits, isolated=isolated)
    results = iter(chosen.as_asked(read, name_of(subject), limits))
    first, second = next(results, None), next(results, None)
    if second is not None:  # before anything is detected
        raise UsageError(
            f"{name_of(subject)}: found several exams; expected one; use ichor.detect_all for all"
        )
    if first is None:
        raise UsageError(f"{name_of(subject)}: found no exam; expected one")
    return (
        detector.refused(first, chosen) if isinstance(first, RefusedInput) else detector.detect(first, chosen)
    )


def detect_all(
    *inputs: Readable,
    series: str | None = None,
    bundle: str | os.PathLike[str] = "default",
    device: str = "auto",
    engine: str = "auto",
    limits: Limits | None = None,
    isolated: bool = False,
    progress: Progress | None = None,
    **options: Unpack[OptionValues],
) -> Iterator[Detection]:
    """Detect hemorrhage in everything that some paths hold.

    Parameters
    ----------
    *inputs
        Folders, files, zips; files opened in binary mode; lists of pydicom's data sets.
    series, bundle, device, engine, limits, isolated, **options
        As in :func:`detect`.
    progress
        Called with what is being done and the share of the present input that is done.

    Yields
    ------
    Detection
        One an exam, picture, or input that could not be read, in the order of the inputs.
    """
    chosen = Options(**options)
    detector = shared_detector(
        bundle, device, engine
    )  # a wrong bundle must not cost the reading of a study first
    yield from detector.detect_all(
        *inputs, options=chosen, series=series, limits=limits, isolated=isolated, progress=progress
    )


def shared_detector(
    bundle: str | os.PathLike[str] = "default", device: str = "auto", engine: str = "auto"
) -> Detector:
    """Return the process's detector of a bundle; it is loaded where there is none, or where the bundle was changed.

    Raises
    ------
    BundleError, UsageError
        As :class:`~ichor.detecting.detector.Detector` does.
    """
    folders = tuple(find_bundle(part).resolve() for part in bundle_parts(bundle))
    threads, chosen = (os.environ.get(f"ICHOR_{name}", "") for name in ("THREADS", "ENGINE"))
    key = (folders, device, engine, threads, chosen)
    with _lock:  # two threads that ask for the same bundle load it once
        state = [bundle_state(folder) for folder in folders]
        kept = _detectors.pop(key, None)
        if kept is None or kept[0] != state:
            kept = (state, open_detector(bundle, device, engine))
        _detectors[key] = kept  # the one used last stands last
        while len(_detectors) > _MOST_DETECTORS:
            _detectors.popitem(last=False)
        return kept[1]
