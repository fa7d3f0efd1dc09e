"""The two things that can be assessed: an :class:`Exam` (Hounsfield volume) and a :class:`Picture`.

Coordinates are DICOM's patient system: millimetres, x to the patient's left, y to the back, z to the
head (LPS). A voxel is named ``(slice, row, column)`` and its coordinates are those of its centre.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ichor.errors import UsageError
from ichor.notices import Notice

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["AIR_HU", "Exam", "Geometry", "GreyWindow", "Picture", "Source", "interpolate"]

AIR_HU = -1024
"""What padding and everything outside the scan is set to, in HU."""


@dataclass(frozen=True)
class Geometry:
    """Where every voxel of a stack of parallel slices lies in the patient.

    Slices need not be evenly spaced, nor stacked at a right angle: each has its own position, so that
    gantry tilt, gaps and mixed thickness are kept without loss.

    Attributes
    ----------
    positions
        ``(n, 3)`` mm, the centre of voxel (row 0, column 0) of each slice; sorted along ``normal``.
    row_direction, column_direction
        Unit vectors ``(3,)``: the way in which the column index grows (along a row), and in which the row
        index grows (down a column). DICOM ImageOrientationPatient, first and second triple.
    spacing
        mm between rows, mm between columns.
    spacing_known
        False where the input gave no spacing and ``spacing`` is only a stand-in.
    positions_known
        False where the input gave no positions and they are counted from the order of the slices.
    orientation_known
        False where the input gave no orientation and a standard axial one is assumed.
    thickness
        ``(n,)`` mm, nominal thickness of each slice; NaN where unknown.
    """

    positions: NDArray[np.float64]
    row_direction: NDArray[np.float64]
    column_direction: NDArray[np.float64]
    spacing: tuple[float, float]
    spacing_known: bool = True
    positions_known: bool = True
    orientation_known: bool = True
    thickness: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return len(self.positions)

    @property
    def coordinates_known(self) -> bool:
        """Whether patient coordinates, and with them left and right, are the input's and not assumed."""
        return self.positions_known and self.orientation_known

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector ``(3,)`` at a right angle to the slices, towards the vertex (its z is not negative)."""
        normal = np.cross(self.row_direction, self.column_direction)
        return -normal if normal[2] < 0 else normal

    @property
    def distances(self) -> NDArray[np.float64]:
        """``(n,)`` mm along :attr:`normal`, growing with the slice index (``position_mm`` of findings)."""
        return np.asarray(self.positions @ self.normal)

    @property
    def gaps(self) -> NDArray[np.float64]:
        """``(n-1,)`` mm between neighbouring slices along the normal."""
        return np.diff(self.distances)

    @property
    def slice_step(self) -> float:
        """Median distance between neighbouring slices in mm; of a single slice, its thickness or 5."""
        if self.n_slices > 1:
            return float(np.median(self.gaps))
        known = self.thickness[np.isfinite(self.thickness)] if len(self.thickness) else self.thickness
        return float(known[0]) if len(known) else 5.0

    @property
    def slice_extents(self) -> NDArray[np.float64]:
        """``(n,)`` mm of the normal that each slice stands for: half of either gap, at the ends the whole.

        A gap wider than twice the median step is a hole, not tissue that the slice saw: it is capped there.
        """
        if self.n_slices < 2:
            return np.array([self.slice_step])
        gaps = np.minimum(self.gaps, 2 * self.slice_step)
        below, above = np.concatenate([gaps[:1], gaps]), np.concatenate([gaps, gaps[-1:]])
        return np.asarray((below + above) / 2)

    @property
    def tilt_degrees(self) -> float:
        """Angle between the line through the slices' positions and their normal, in degrees."""
        if self.n_slices < 2:
            return 0.0
        along = self.positions[-1] - self.positions[0]
        length = float(np.linalg.norm(along))
        return float(np.degrees(np.arccos(np.clip(along @ self.normal / length, -1, 1)))) if length else 0.0

    def voxel_to_patient(self, voxels: ArrayLike) -> NDArray[np.float64]:
        """Patient coordinates of voxels.

        Parameters
        ----------
        voxels
            ``(..., 3)`` slice, row, column; fractions allowed (between slices, positions are interpolated).

        Returns
        -------
        numpy.ndarray
            ``(..., 3)`` mm.
        """
        voxels = np.asarray(voxels, dtype=np.float64)
        index = np.arange(self.n_slices, dtype=np.float64)
        s = voxels[..., 0]
        base = np.stack([interpolate(s, index, self.positions[:, axis]) for axis in range(3)], axis=-1)
        return (
            base
            + voxels[..., 1:2] * self.spacing[0] * self.column_direction
            + voxels[..., 2:3] * self.spacing[1] * self.row_direction
        )

    def patient_to_voxel(self, points: ArrayLike) -> NDArray[np.float64]:
        """Voxel coordinates of patient points: the inverse of :meth:`voxel_to_patient`.

        Parameters
        ----------
        points
            ``(..., 3)`` mm.

        Returns
        -------
        numpy.ndarray
            ``(..., 3)`` slice, row, column, as fractions; beyond the stack, continued at its end's step.
        """
        points = np.asarray(points, dtype=np.float64)
        index = np.arange(self.n_slices, dtype=np.float64)
        s = interpolate(points @ self.normal, self.distances, index, slope=1 / self.slice_step)
        base = np.stack([interpolate(s, index, self.positions[:, axis]) for axis in range(3)], axis=-1)
        offset = points - base
        return np.stack(
            [
                s,
                offset @ self.column_direction / self.spacing[0],
                offset @ self.row_direction / self.spacing[1],
            ],
            axis=-1,
        )

    def affine(self) -> NDArray[np.float64]:
        """``(4, 4)`` matrix from (column, row, slice, 1) to patient mm: the best even grid for the stack.

        Exact where slices are even (tilt included); otherwise the straight line between first and last.
        """
        matrix = np.eye(4)
        matrix[:3, 0] = self.row_direction * self.spacing[1]
        matrix[:3, 1] = self.column_direction * self.spacing[0]
        if self.n_slices > 1:
            matrix[:3, 2] = (self.positions[-1] - self.positions[0]) / (self.n_slices - 1)
        else:
            matrix[:3, 2] = self.normal * self.slice_step
        matrix[:3, 3] = self.positions[0]
        return matrix


def interpolate(x: ArrayLike, xp: ArrayLike, fp: ArrayLike, slope: float = 0.0) -> NDArray[np.float64]:
    """Interpolate as ``numpy.interp`` does, but go on in a straight line beyond both ends.

    Parameters
    ----------
    x
        ``(...)`` where values are wanted.
    xp, fp
        ``(n,)`` rising coordinates, and the values there.
    slope
        Of the line where there is one point only.

    Returns
    -------
    numpy.ndarray
        ``(...)`` float64.
    """
    x, xp, fp = (np.asarray(values, dtype=np.float64) for values in (x, xp, fp))
    if len(xp) < 2:
        return np.asarray(fp[0] + (x - xp[0]) * slope)
    i = np.clip(np.searchsorted(xp, x) - 1, 0, len(xp) - 2)
    return np.asarray(fp[i] + (x - xp[i]) * (fp[i + 1] - fp[i]) / (xp[i + 1] - xp[i]))


@dataclass(frozen=True)
class Source:
    """Where an exam came from, as far as the way back needs it.

    Attributes
    ----------
    input
        The input as the user named it.
    format
        ``dicom``, ``nifti``, ``picture`` or ``array``.
    study_uid, series_uid, sop_instance_uids
        Original UIDs (empty where there are none), one SOP instance UID a slice in the exam's order.
        They leave ichor only hashed, unless the user asks.
    instance_numbers
        DICOM's InstanceNumber of each slice, None where it is missing; empty where there are none.
    frame_numbers
        1-based frame of each slice in its instance; None for single-frame objects.
    details
        Technical facts worth telling (manufacturer, kernel, kVp, thickness, transfer syntax):
        nothing that names, dates or identifies a patient.
    nifti
        For NIfTI, what restores the file's own axes: its ``affine`` (4, 4), its ``shape``, and the
        ``axes``/``flips`` applied; None otherwise.
    """

    input: str
    format: str
    study_uid: str = ""
    series_uid: str = ""
    sop_instance_uids: tuple[str, ...] = ()
    instance_numbers: tuple[int | None, ...] = ()
    frame_numbers: tuple[int, ...] | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    nifti: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Exam:
    """A stack of axial CT slices in Hounsfield units.

    Attributes
    ----------
    volume
        ``(n, rows, columns)`` int16, HU; slices sorted towards the vertex; pixels as stored (not turned).
    geometry
        Where the voxels lie.
    source
        Where the exam came from.
    notices
        What was noticed while reading.
    read_seconds
        Time that reading took.
    """

    volume: NDArray[np.int16]
    geometry: Geometry
    source: Source
    notices: tuple[Notice, ...] = ()
    read_seconds: float = 0.0

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return int(self.volume.shape[0])

    @classmethod
    def from_array(
        cls, hu: ArrayLike, spacing: tuple[float, float, float] | None = None, *, name: str = "array"
    ) -> Exam:
        """Make an exam of Hounsfield units in memory.

        Parameters
        ----------
        hu
            ``(n, rows, columns)`` HU: slices from the base of the skull to the vertex, rows from the front to the back.
        spacing
            mm between slices, between rows, between columns; without it 5 mm slices are assumed and no volume is given.
        name
            What findings call it.

        Raises
        ------
        UsageError
            Where the array or the spacing is none that an exam can have.
        """
        volume = _checked_volume(hu)
        step, rows, columns = _checked_spacing(spacing) if spacing is not None else (5.0, 0.5, 0.5)
        n = len(volume)
        positions = np.stack([np.zeros(n), np.zeros(n), step * np.arange(n)], axis=1)
        geometry = Geometry(
            positions,
            row_direction=np.array([1.0, 0.0, 0.0]),
            column_direction=np.array([0.0, 1.0, 0.0]),
            spacing=(rows, columns),
            spacing_known=spacing is not None,
            positions_known=False,
            orientation_known=False,
        )
        return cls(volume, geometry, Source(name, "array"))

    @classmethod
    def from_datasets(cls, datasets: Sequence[Dataset]) -> Exam:
        """Make an exam of pydicom's data sets, as :func:`ichor.read` makes one of their files.

        Parameters
        ----------
        datasets
            The slices of one study, in any order, with their pixels; they stay as they are.

        Raises
        ------
        RefusedInput
            Where they are no exam that can be assessed.
        UsageError
            Where they are no data sets, or of several studies.
        """
        import ichor

        found = ichor.read(datasets)
        if not isinstance(found, cls):
            raise UsageError("data sets: found a picture; expected the slices of a CT exam; use ichor.read")
        return found


def _checked_volume(hu: ArrayLike) -> NDArray[np.int16]:
    """Round to int16 what is a stack of slices in HU."""
    array = np.asarray(hu)
    if array.ndim != 3 or not array.size:
        raise UsageError(f"hu: found an array of shape {array.shape}; expected slices, rows, columns")
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise UsageError(f"hu: found values of type {array.dtype}; expected numbers, in HU")
    if not np.isfinite(array).all():
        raise UsageError(
            "hu: found values that are no numbers (NaN or infinite); expected HU; set them to -1024"
        )
    if array.min() >= 0:
        raise UsageError(
            f"hu: found no value below 0 (the least is {array.min():g}); expected HU, in which air is about -1000; "
            "take off the offset, or give 8-bit slices as pictures to ichor.read"
        )
    limits = np.iinfo(np.int16)
    return np.ascontiguousarray(np.rint(np.clip(array, limits.min, limits.max)).astype(np.int16))


def _checked_spacing(spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    values = np.asarray(spacing, dtype=np.float64)
    if values.shape != (3,) or not np.isfinite(values).all() or not (values > 0).all():
        raise UsageError(f"spacing: found {spacing}; expected mm between slices, rows and columns, above 0")
    return float(values[0]), float(values[1]), float(values[2])


@dataclass(frozen=True)
class GreyWindow:
    """The window by which the greys of a picture are turned into HU.

    Attributes
    ----------
    level, width
        HU of the middle grey, and from black to white.
    source
        ``file`` where the file's numbers are HU, ``measured`` from the picture, ``assumed`` the brain window.
    error_hu
        By how much brain may be off, HU (one standard deviation); None where that is not known.
    """

    level: float
    width: float
    source: Literal["file", "measured", "assumed"]
    error_hu: float | None = None


@dataclass(frozen=True)
class Picture:
    """An 8-bit picture of one slice, windowed by whoever made it.

    Attributes
    ----------
    grey
        ``(rows, columns)`` uint8: the slice alone, borders cut away, bone bright; of a photograph, flattened and
        evened in its light.
    source
        Where it came from.
    box
        Row and column of the upper left corner, rows and columns of ``grey`` in the file's own pixels; of a
        flattened one, those of the upright box around it.
    file_shape
        Rows and columns of the file's picture.
    notices
        What was noticed while reading.
    read_seconds
        Time that reading took.
    window
        By which ``grey`` is turned into HU; None as long as it was not measured and the file does not say it: then the
        brain window is assumed.
    """

    grey: NDArray[np.uint8]
    source: Source
    box: tuple[int, int, int, int]
    file_shape: tuple[int, int]
    notices: tuple[Notice, ...] = ()
    read_seconds: float = 0.0
    window: GreyWindow | None = None

    @property
    def n_slices(self) -> int:
        """Always 1."""
        return 1
