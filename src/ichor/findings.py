"""What detection says of one exam or picture, and its JSON form, ``ichor.findings/1``."""

from __future__ import annotations

import json
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from ichor.labels import LABEL_NAMES

__all__ = [
    "SCHEMA",
    "BundleReference",
    "Findings",
    "FindingsWarning",
    "LabelValues",
    "PictureWindow",
    "Region",
    "Seconds",
    "SliceFindings",
    "SubtypeFindings",
]

SCHEMA = "ichor.findings/1"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")

    def replace(self, **values: Any) -> Self:
        """Return a copy with other values in some fields, checked as new ones are."""
        kept = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**kept | values)


class LabelValues(_Model):
    """One number a label, null where the input could not be assessed."""

    any: float | None = None
    epidural: float | None = None
    intraparenchymal: float | None = None
    intraventricular: float | None = None
    subarachnoid: float | None = None
    subdural: float | None = None

    @classmethod
    def of(cls, values: Any) -> LabelValues:
        """Make one from six numbers in the order of :data:`ichor.labels.LABEL_NAMES`."""
        return cls(**{name: float(v) for name, v in zip(LABEL_NAMES, values, strict=True)})

    def as_array(self) -> NDArray[np.float64]:
        """``(6,)`` in label order; NaN for null."""
        return np.array([np.nan if (v := getattr(self, n)) is None else v for n in LABEL_NAMES])


class LabelFlags(_Model):
    """One verdict a label, null where the input could not be assessed, or the model is not calibrated."""

    any: bool | None = None
    epidural: bool | None = None
    intraparenchymal: bool | None = None
    intraventricular: bool | None = None
    subarachnoid: bool | None = None
    subdural: bool | None = None


class SubtypeFindings(_Model):
    """How far a subtype can be named on the whole exam or picture."""

    label: str = Field(description="the subtype")
    likely: bool = Field(
        description="whether to name it: positive, and one of the two most probable that are; where none is, the type "
        "is not determined"
    )
    trusted: bool = Field(description="whether the model was measured on enough patients with it")
    reason: str | None = Field(default=None, description="why not trusted; null where it is")


class SliceFindings(_Model):
    """One native slice."""

    index: int = Field(ge=0, description="0-based, in the exam's order: towards the vertex")
    position_mm: float | None = Field(
        description="along the slice normal, patient coordinates, growing towards the vertex"
    )
    sop_instance_uid: str | None = Field(description="hashed unless the user asked for original UIDs")
    probabilities: LabelValues


class Region(_Model):
    """One connected bleed."""

    label: str = Field(
        description="the most probable subtype of this region; `any` on a picture, where regions have no subtype"
    )
    probabilities: dict[str, float] = Field(
        description="probability of each subtype, summing to 1; empty on a picture"
    )
    volume_ml: float | None = Field(description="null where spacing is unknown")
    slices: list[int] = Field(description="indices of the slices it touches")
    bbox_mm: list[float] | None = Field(
        description="x0, y0, z0, x1, y1, z1 in patient millimetres (LPS); "
        "null where spacing, positions or orientation are unknown"
    )
    bbox_voxels: list[int] = Field(description="slice, row, column of the first, then of the last voxel")


class FindingsWarning(_Model):
    """A notice, as findings show it."""

    code: str
    message: str
    slices: list[int] | None = None


class BundleReference(_Model):
    """The model that the findings come from."""

    name: str
    version: str
    sha256: str


class Seconds(_Model):
    """Wall time a stage took; null for a stage that was not reached."""

    read: float | None = None
    prepare: float | None = None
    detect: float | None = None
    report: float | None = None


class PictureWindow(_Model):
    """The window by which the greys of a picture were turned into HU."""

    level: float = Field(description="HU of the middle grey")
    width: float = Field(description="HU from black to white")
    source: Literal["file", "measured", "assumed"] = Field(
        description="`file`: its numbers are HU; `measured` from the picture; `assumed`: the brain window"
    )
    error_hu: float | None = Field(
        description="by how much brain may be off, HU (one standard deviation); null where that is not known"
    )


class Findings(_Model):
    """What detection says of one exam or picture.

    ``mask`` is not part of the JSON: it is the ``(n, rows, columns)`` uint8 array on the native slices, 0
    where there is no bleed, otherwise the number of the region (1-based) that the voxel belongs to. Nor is
    ``heat``, of the same shape: see :func:`ichor.detecting.heat_map.heat_map`.
    """

    schema_: Literal["ichor.findings/1"] = Field(default="ichor.findings/1", alias="schema")
    input: str
    kind: Literal["exam", "picture"] | None = Field(description="null where it is not known")
    study_uid: str | None = None
    series_uid: str | None = None
    n_slices: int
    spacing_mm: list[float] | None = Field(
        default=None, description="between slices, between rows, between columns"
    )
    window: PictureWindow | None = Field(
        default=None, description="of a picture: by which its greys were turned into HU; null for exams"
    )
    probabilities: LabelValues = LabelValues()
    thresholds: LabelValues = LabelValues()
    positive: LabelFlags = LabelFlags()
    subtypes: list[SubtypeFindings] = Field(
        default=[],
        description="the five subtypes, and which of them to name; empty where nothing was assessed",
    )
    uncertain: bool | None = Field(
        default=None,
        description="whether neither answer on `any` can be excluded at the bundle's level; null where the bundle has "
        "no such rule, for single slices and pictures, and where nothing was assessed",
    )
    uncertainty: str | None = Field(
        default=None, description="the rule and the level in a sentence; null where `uncertain` is null"
    )
    slices: list[SliceFindings] = []
    regions: list[Region] = []
    volume_ml: float | None = None
    assessable: bool
    warnings: list[FindingsWarning] = []
    bundle: BundleReference | None = None
    seconds: Seconds = Seconds()

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, ser_json_inf_nan="null")
    _mask: NDArray[np.uint8] | None = PrivateAttr(default=None)
    _heat: NDArray[np.uint8] | None = PrivateAttr(default=None)

    @property
    def mask(self) -> NDArray[np.uint8] | None:
        """Region numbers on the native slices, or None where nothing was assessed."""
        return self._mask

    @property
    def heat(self) -> NDArray[np.uint8] | None:
        """Heat map on the native slices; None but where hemorrhage is suspected and nothing is outlined."""
        return self._heat

    def with_mask(self, mask: NDArray[np.uint8] | None) -> Self:
        """Return a copy that carries a mask."""
        other = self.replace()
        other._mask = mask
        return other

    def with_heat(self, heat: NDArray[np.uint8] | None) -> Self:
        """Return a copy that carries a heat map."""
        other = self.replace()
        other._heat = heat
        return other

    def replace(self, **values: Any) -> Self:
        """Return a copy with other values in some fields, checked as new ones are; mask and heat map stay."""
        other = super().replace(**values)
        other._mask, other._heat = self._mask, self._heat
        return other

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, keyed as in the JSON."""
        data: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        for warning in data["warnings"]:
            if warning["slices"] is None:
                del warning["slices"]
        return data

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the findings as JSON text (one line unless ``indent`` is given)."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False, ensure_ascii=False)
