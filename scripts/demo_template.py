"""The head of the example exam: normal exams brought to one shape, and their trimmed mean.

Every second exam is mirrored. Each is brought to the frame of the first by an affine map, and the mean of the
maps is taken out of all; then demons registration to the evolving mean, four rounds, each without the mean of
the fields. So neither a patient's exam nor a patient's shape is in the result.

Arrays are ``(slice, row, column)``, slices counted upward; coordinates are mm in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from ichor.datasets.ct_ich import CtIch

__all__ = ["PATIENTS", "PIXEL_MM", "STEP_MM", "template"]

PATIENTS = ("098", "057", "096", "099", "102", "103", "104", "113", "115", "118", "121", "124", "126", "128")
"""Normal adults without fracture, lying straight, chosen by eye; the first gives the tilt of the head."""
PIXEL_MM, STEP_MM, SIDE, SLICES = 0.45, 5.0, 512, 33
LOWEST_MM = -145.0
"""Below the last slice of the first exam, which is 0."""
FORWARD_MM = 8.0
"""How much farther forward than back the frame reaches: noses."""
CENTRE = np.array([-70.0, 0.0, 0.0])
"""About the middle of the brain: what affine maps turn around."""
AIR_HU = -1000.0
FEWEST = 6
"""Where fewer exams than this reach, the template says nothing (NaN)."""
_FEATURE_HU = (-1000, -200, -20, 10, 25, 45, 70, 120, 300, 1200)
_FEATURE = (0, 4, 20, 35, 60, 90, 110, 120, 130, 150)
"""What is compared: brain against cerebrospinal fluid counts as much as bone against air."""
_ROUNDS = ((1.8, 128, 30, 2.2), (1.8, 128, 30, 2.2), (1.8, 128, 30, 1.3), (0.9, 256, 14, 1.3))
"""Pixel in mm, pixels a side, iterations and smoothing (pixels) of each round of demons."""


@dataclass(frozen=True)
class Head:
    """One exam, cleaned: its volume in HU, the features compared, and where it was scanned."""

    hu: sitk.Image
    features: sitk.Image
    scanned: sitk.Image


def template(data: Path) -> NDArray[np.float32]:
    """Average the exams.

    Parameters
    ----------
    data
        Folder that holds ``ct-ich``.

    Returns
    -------
    numpy.ndarray
        ``(SLICES, SIDE, SIDE)`` HU at ``STEP_MM``, ``PIXEL_MM``; NaN where fewer than ``FEWEST`` exams reach.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # the same result on every machine
    dataset = CtIch(data / "ct-ich")
    heads = [load(dataset, patient, mirrored=i % 2 == 1) for i, patient in enumerate(PATIENTS)]
    print("read", flush=True)
    maps = affine_maps([coarse(head) for head in heads])
    fields: list[sitk.Image | None] = [None] * len(heads)
    for pixel, side, iterations, smoothing in _ROUNDS:
        fields = demons_round(heads, maps, fields, frame(pixel, side), iterations, smoothing)
        print(f"round at {pixel} mm done", flush=True)
    return trimmed_mean(heads, [joined(m, f) for m, f in zip(maps, fields, strict=True)])


def load(dataset: CtIch, patient: str, *, mirrored: bool) -> Head:
    """Read an exam, without the table and what lies about the head; its last slice is at 0 mm."""
    exam = dataset.load(patient).exam
    pixel = exam.geometry.spacing[0]
    volume = alone(exam.volume)
    if mirrored:
        volume = np.ascontiguousarray(volume[:, :, ::-1])
    row, column = ndimage.center_of_mass((volume > -100).sum(axis=0))
    spacing = (pixel, pixel, STEP_MM)
    origin = (-column * pixel, -row * pixel, -STEP_MM * (len(volume) - 1))
    smooth = ndimage.gaussian_filter(volume.astype(np.float32), (0, 1, 1))
    return Head(
        image(volume, spacing, origin),
        image(features(smooth), spacing, origin),
        image(np.ones(volume.shape, np.float32), spacing, origin),
    )


def alone(volume: NDArray[np.int16]) -> NDArray[np.int16]:
    """Set everything but the largest body to air."""
    body = ndimage.binary_opening(volume[:, ::4, ::4] > -200, np.ones((1, 3, 3)))
    labels, _ = ndimage.label(body)
    largest = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in largest])
    near = ndimage.binary_dilation(filled, np.ones((1, 3, 3)), iterations=2)
    near = near.repeat(4, axis=1).repeat(4, axis=2)
    near = near[:, : volume.shape[1], : volume.shape[2]]
    return np.where(near & (volume > -850), volume, int(AIR_HU)).astype(np.int16)


def features(hu: NDArray[np.floating]) -> NDArray[np.float32]:
    """Map HU to what is compared."""
    return np.asarray(np.interp(hu, _FEATURE_HU, _FEATURE), np.float32)


def image(array: NDArray[np.generic], spacing: tuple[float, ...], origin: tuple[float, ...]) -> sitk.Image:
    """Make an image; spacing and origin in SimpleITK's order (column, row, slice)."""
    made = sitk.GetImageFromArray(array)
    made.SetSpacing(spacing)
    made.SetOrigin(origin)
    return made


def frame(pixel: float, side: int) -> sitk.Image:
    """Make an empty image that says where the template's voxels are."""
    made = sitk.Image(side, side, SLICES, sitk.sitkFloat32)
    made.SetSpacing((pixel, pixel, STEP_MM))
    corner = -(side - 1) / 2 * pixel
    made.SetOrigin((corner, corner - FORWARD_MM, LOWEST_MM))
    return made


# -- affine --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coarse:
    """Features on pixels of about 2 mm, with spacing and origin in mm."""

    values: NDArray[np.float64]
    spacing: NDArray[np.float64]
    origin: NDArray[np.float64]

    def smooth(self, mm: float) -> NDArray[np.float64]:
        """Return the values, smoothed."""
        return np.asarray(ndimage.gaussian_filter(self.values, mm / self.spacing))


Affine = tuple[NDArray[np.float64], NDArray[np.float64]]
"""``(3, 3)`` and ``(3,)``: template point p to exam point ``matrix @ (p - CENTRE) + CENTRE + shift``."""


def coarse(head: Head, by: int = 5) -> Coarse:
    """Take means of ``by`` times ``by`` pixels."""
    values = sitk.GetArrayFromImage(head.hu).astype(np.float64)
    side = values.shape[1] // by * by
    means = values[:, :side, :side].reshape(len(values), side // by, by, side // by, by).mean(axis=(2, 4))
    spacing = np.array(head.hu.GetSpacing())[::-1]
    origin = np.add(head.hu.GetOrigin()[::-1], [0, *(spacing[1:] * (by - 1) / 2)])
    return Coarse(features(means).astype(np.float64), spacing * [1, by, by], origin)


def affine_maps(heads: list[Coarse]) -> list[sitk.AffineTransform]:
    """Map the template's space to each exam: all to the first, less the mean of these maps."""
    first = heads[0]
    inside = np.stack([ndimage.binary_fill_holes(plane > 100) for plane in first.values])
    inside = ndimage.binary_dilation(inside, np.ones((1, 3, 3)), iterations=5)
    inside[first.origin[0] + STEP_MM * np.arange(len(inside)) < -115] = False  # faces, necks differ
    voxels = np.argwhere(inside)[::3]
    points = voxels * first.spacing + first.origin
    wanted = {mm: first.smooth(mm)[tuple(voxels.T)] for mm in (3.0, 6.0)}
    found: list[Affine] = [(np.eye(3), np.zeros(3))]
    for head in heads[1:]:
        starts = [(nod(tilt), np.array([dz, 0.0, 0.0])) for tilt in (-12, 0, 12) for dz in (-8.0, 8.0)]
        tried = [gauss_newton(head, points, wanted, start, rigid=True, mm=6.0, steps=12) for start in starts]
        best = max(tried, key=lambda result: result[1])[0]
        best, _ = gauss_newton(head, points, wanted, best, rigid=True, mm=3.0, steps=10)
        best, likeness = gauss_newton(head, points, wanted, best, rigid=False, mm=3.0, steps=20)
        print(f"affine: correlation {likeness:.2f}", flush=True)
        found.append(best)
    mean = np.linalg.inv(np.mean([matrix for matrix, _ in found], axis=0))
    shift = np.mean([s for _, s in found], axis=0)
    return [as_transform(matrix @ mean, s - matrix @ mean @ shift) for matrix, s in found]


def nod(degrees: float) -> NDArray[np.float64]:
    """Turn about the left-right axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def gauss_newton(
    head: Coarse,
    points: NDArray[np.float64],
    wanted: dict[float, NDArray[np.float64]],
    start: Affine,
    *,
    rigid: bool,
    mm: float,
    steps: int,
) -> tuple[Affine, float]:
    """Fit one exam to the first by weighted least squares; return the map and the correlation reached."""
    values = head.smooth(mm)
    slopes = [g / s for g, s in zip(np.gradient(values), head.spacing, strict=True)]
    (matrix, shift), from_centre = start, points - CENTRE
    for _ in range(steps):
        at = ((from_centre @ matrix.T + CENTRE + shift - head.origin) / head.spacing).T
        seen = ndimage.map_coordinates(values, at, order=1, cval=np.nan)
        valid = np.isfinite(seen)
        difference = (seen - wanted[mm])[valid]
        slope = np.stack([ndimage.map_coordinates(s, at, order=1) for s in slopes], axis=1)[valid]
        arm = (from_centre @ matrix.T if rigid else from_centre)[valid]
        turning = np.cross(arm, slope) if rigid else (slope[:, :, None] * arm[:, None, :]).reshape(-1, 9)
        jacobian = np.concatenate([turning, slope], axis=1)
        weight = 1 / (1 + np.abs(difference) / 30)  # what has no counterpart must not pull
        normal = jacobian.T @ (jacobian * weight[:, None])
        step = np.linalg.solve(normal + 1e-3 * np.diag(np.diag(normal)), -jacobian.T @ (weight * difference))
        if rigid:
            matrix, shift = rotation(step[:3]) @ matrix, shift + np.clip(step[3:], -6, 6)
        else:
            matrix, shift = matrix + step[:9].reshape(3, 3), shift + step[9:]
    at = ((from_centre @ matrix.T + CENTRE + shift - head.origin) / head.spacing).T
    seen = ndimage.map_coordinates(values, at, order=1, cval=np.nan)
    valid = np.isfinite(seen)
    return (matrix, shift), float(np.corrcoef(seen[valid], wanted[mm][valid])[0, 1])


def rotation(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rodrigues' formula, at most 0.1 radian at a time."""
    length = float(np.linalg.norm(vector))
    x, y, z = vector / max(length, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = min(length, 0.1)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def as_transform(matrix: NDArray[np.float64], shift: NDArray[np.float64]) -> sitk.AffineTransform:
    """Give the map to SimpleITK, whose axes run the other way."""
    made = sitk.AffineTransform(3)
    made.SetCenter(CENTRE[::-1].tolist())
    made.SetMatrix(matrix[::-1, ::-1].ravel().tolist())
    made.SetTranslation(shift[::-1].tolist())
    return made


# -- demons --------------------------------------------------------------------------------


def joined(affine: sitk.AffineTransform, field: sitk.Image | None) -> sitk.Transform:
    """Chain the field, on the template, and the affine map to the exam."""
    if field is None:
        return affine
    chain = sitk.CompositeTransform(3)
    chain.AddTransform(affine)
    chain.AddTransform(sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64)))
    return chain


def resampled(
    source: sitk.Image, onto: sitk.Image, by: sitk.Transform, outside: float
) -> NDArray[np.float32]:
    """Take the values of an image on another grid."""
    moved = sitk.Resample(source, onto, by, sitk.sitkLinear, outside, sitk.sitkFloat32)
    return np.asarray(sitk.GetArrayFromImage(moved), np.float32)


def demons_round(
    heads: list[Head],
    maps: list[sitk.AffineTransform],
    fields: list[sitk.Image | None],
    onto: sitk.Image,
    iterations: int,
    smoothing: float,
) -> list[sitk.Image | None]:
    """Register every exam to the mean of all; return the new fields, less their mean."""
    chains = [joined(m, f) for m, f in zip(maps, fields, strict=True)]
    seen = np.stack([resampled(h.features, onto, c, 0.0) for h, c in zip(heads, chains, strict=True)])
    weight = np.stack([resampled(h.scanned, onto, c, 0.0) for h, c in zip(heads, chains, strict=True)])
    mean = (seen * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-3)
    method = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    method.SetNumberOfIterations(iterations)
    method.SetStandardDeviations([smoothing, smoothing, max(0.7, 0.6 * smoothing)])
    method.SetSmoothUpdateField(True)
    method.SetUpdateFieldStandardDeviations([1.5, 1.5, 0.7])
    method.SetMaximumUpdateStepLength(2.0)
    fixed = like(mean, onto)
    totals = []
    for values, w, before in zip(seen, weight, fields, strict=True):
        # Where an exam ends, the mean stands in, so that its end does not pull.
        moving = like(values * w + mean * (1 - w), onto)
        update = sitk.Cast(method.Execute(fixed, moving), sitk.sitkVectorFloat64)
        total = sitk.GetArrayFromImage(update).astype(np.float32)
        if before is not None:
            step = sitk.DisplacementFieldTransform(update)
            total += sitk.GetArrayFromImage(sitk.Resample(before, onto, step, sitk.sitkLinear))
        totals.append(total)
    common = np.mean(totals, axis=0)
    return [like(total - common, onto, vector=True) for total in totals]


def like(array: NDArray[np.floating], other: sitk.Image, *, vector: bool = False) -> sitk.Image:
    """Make an image that lies where another does."""
    made = sitk.GetImageFromArray(array.astype(np.float32), isVector=vector)
    made.CopyInformation(other)
    return made


def trimmed_mean(heads: list[Head], chains: list[sitk.Transform]) -> NDArray[np.float32]:
    """Mean a voxel without the highest and the lowest fifth."""
    onto = frame(PIXEL_MM, SIDE)
    values = np.empty((len(heads), SLICES, SIDE, SIDE), np.float16)  # 0.03 HU in the brain, 0.5 HU in bone
    for out, head, chain in zip(values, heads, chains, strict=True):
        scanned = resampled(head.scanned, onto, chain, 0.0) > 0.5
        out[...] = np.where(scanned, resampled(head.hu, onto, chain, AIR_HU), np.inf)
    mean = np.full((SLICES, SIDE, SIDE), np.nan, np.float32)
    for k in range(SLICES):
        plane = np.sort(values[:, k].astype(np.float32), axis=0)  # what was not scanned comes last
        n = np.isfinite(plane).sum(axis=0)
        cut = n // 5
        place = np.arange(len(heads))[:, None, None]
        used = (place >= cut) & (place < n - cut)
        total = np.where(used, plane, 0).sum(axis=0)
        mean[k] = np.where(n >= FEWEST, total / np.maximum(used.sum(axis=0), 1), np.nan)
    return mean
