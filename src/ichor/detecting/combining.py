"""Several bundles as one: ``A+B`` gives the mean of their calibrated logits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ichor.detecting.bundle import Bundle, find_bundle
from ichor.detecting.detector import Detector, Probabilities
from ichor.detecting.manifest import Manifest, OperatingPoints, Threshold, Unit, thresholds_of
from ichor.errors import BundleError, UsageError
from ichor.exam import Exam, Picture
from ichor.labels import LABEL_NAMES
from ichor.notices import Notice, notice
from ichor.preparing.stacks import Prepared, prepare

__all__ = ["CombinedDetector", "bundle_parts", "combined_bundle", "logits", "open_detector"]

_PLUS = "+"
_LEAST = 1e-6
"""How far probabilities are kept from 0 and 1, so that none has the last word alone."""


def bundle_parts(bundle: str | os.PathLike[str]) -> list[str | os.PathLike[str]]:
    """Return the bundles that ``A+B`` names; what is a bundle's own name or path is one, a plus in it or not."""
    if not isinstance(bundle, str) or _PLUS not in bundle:
        return [bundle]
    try:
        find_bundle(bundle)
    except BundleError:
        parts = [part.strip() for part in bundle.split(_PLUS)]
        if not all(parts) or len({find_bundle(part) for part in parts}) < len(parts):
            raise UsageError(
                f"--bundle {bundle}: found a bundle twice, or none beside a plus; expected A+B, two or more different "
                "ones; name each once"
            ) from None
        return list(parts)
    return [bundle]


def open_detector(
    bundle: str | os.PathLike[str] = "default", device: str = "auto", engine: str = "auto"
) -> Detector:
    """Open a bundle, or several that are combined (``A+B``).

    Raises
    ------
    BundleError, UsageError
        As :class:`~ichor.detecting.detector.Detector` does; where one of several is not calibrated.
    """
    parts = bundle_parts(bundle)
    if len(parts) == 1:
        return Detector(parts[0], device, engine)
    return CombinedDetector([Detector(part, device, engine) for part in parts])


def logits(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logits of probabilities, finite."""
    p = np.clip(np.asarray(probabilities, np.float64), _LEAST, 1 - _LEAST)
    return np.asarray(np.log(p) - np.log1p(-p))


class CombinedDetector(Detector):
    """Bundles that give one probability together: the mean of their calibrated logits.

    All else (quality, reference ranges, the heat map) is of the first one; regions of the first that draws a map.

    Parameters
    ----------
    parts
        Two or more, each calibrated.

    Raises
    ------
    UsageError
        Where one is not calibrated: its scores are on no common scale.
    """

    def __init__(self, parts: Sequence[Detector]) -> None:
        for part in parts:
            if not part.bundle.manifest.calibrated:
                raise UsageError(
                    f"bundle {part.bundle.name!r}: found a model that is not calibrated; expected calibrated ones to "
                    "combine; calibrate it on exams of your own (ichor bundle calibrate)"
                )
        self.parts = tuple(parts)
        self.model = parts[0].model
        self.bundle = combined_bundle([part.bundle for part in parts])

    def _probabilities(self, subject: Exam | Picture, prepared: Prepared) -> Probabilities:
        found = []
        for part in self.parts:
            own = part.bundle.manifest.preparation
            same = own == self.bundle.manifest.preparation
            other = prepared if same else replace(prepare(subject, own), reach_mm=prepared.reach_mm)
            found.append(part._probabilities(subject, other))
        slices, exam = (_mean([getattr(one, name) for one in found]) for name in ("slices", "exam"))
        regions = next((one.regions for one in found if one.regions is not None), None)
        return Probabilities(slices, exam, regions, found[0].any_map, found[0].grad_cam)

    def _notices(self, measured: Mapping[str, float], *, refused: bool) -> list[Notice]:
        notices = super()._notices(measured, refused=refused)
        if any(part.bundle.manifest.locates for part in self.parts):
            notices = [one for one in notices if one.code != "model_does_not_locate"]
        if not refused:
            names = " and ".join(f"{part.bundle.name} {part.bundle.version}" for part in self.parts)
            text = (
                f"Probabilities are the mean of the calibrated logits of {names}; so are thresholds: what they reach "
                "together was not measured here (ichor evaluate --bundle does it)."
            )
            notices.append(notice("combined_models", text))
        return notices


def _mean(probabilities: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    mean = np.mean([logits(p) for p in probabilities], axis=0)
    return np.asarray(1 / (1 + np.exp(-mean)))


def combined_bundle(bundles: Sequence[Bundle]) -> Bundle:
    """Describe several bundles as one; what was measured of each alone is not claimed of all together."""
    manifests = [bundle.manifest for bundle in bundles]
    first = manifests[0]
    name = _PLUS.join(bundle.name for bundle in bundles)
    untrusted: dict[str, str] = {}
    for manifest in reversed(manifests):
        untrusted |= manifest.untrusted_labels
    pictures = all(manifest.picture_thresholds for manifest in manifests)
    manifest = Manifest.model_validate(
        first.model_dump()
        | {
            "name": name,
            "version": _PLUS.join(bundle.version for bundle in bundles),
            "description": f"The mean of the calibrated logits of {name.replace(_PLUS, ' and ')}.",
            "licence": "; ".join(dict.fromkeys(m.licence for m in manifests)),
            "thresholds": _thresholds(manifests, "exam"),
            "slice_thresholds": _thresholds(manifests, "slice"),
            "picture_thresholds": _thresholds(manifests, "picture") if pictures else {},
            "operating_points": OperatingPoints(),
            "uncertain_band": None,
            "untrusted_labels": untrusted,
            "trained_on": tuple(dict.fromkeys(one for m in manifests for one in m.trained_on)),
            "measured": (),
            "claimed": (),
            "limits": tuple(dict.fromkeys(line for m in manifests for line in m.limits)),
            "restrictions": tuple(dict.fromkeys(line for m in manifests for line in m.restrictions)),
        }
    )
    sha256 = hashlib.sha256("".join(bundle.sha256 for bundle in bundles).encode()).hexdigest()
    card = "\n\n".join(bundle.card_text for bundle in bundles)
    return replace(bundles[0], manifest=manifest, card_text=card, sha256=sha256)


def _thresholds(manifests: Sequence[Manifest], unit: Unit) -> dict[str, Threshold]:
    """Mean of the logits of the thresholds of those that call a label at all."""
    out = {}
    for name in LABEL_NAMES:
        own = np.array([thresholds_of(manifest, unit)[name].probability for manifest in manifests])
        calling = own[own < 1]
        value = float(_mean([calling[k : k + 1] for k in range(len(calling))])[0]) if len(calling) else 1.0
        out[name] = Threshold(probability=value)
    return out
