"""The DICOM objects that an exam was read from, found again in its input: their UIDs, and one whole header.

Results that go back to an archive refer to these objects and repeat what the header says of patient and study. An
:class:`~ichor.exam.Exam` carries none of that, so that it can be handed on without a patient in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from ichor.errors import RefusedInput
from ichor.exam import Exam
from ichor.reading.dicom.dataset import open_dataset
from ichor.reading.dicom.elements import Elements
from ichor.reading.files import InputFile, shown
from ichor.reading.inputs import dicom_files
from ichor.reading.limits import Limits
from ichor.uids import hashed_uid

__all__ = ["Instance", "Originals", "originals_of_exam", "originals_of_study"]

_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "Rows",
    "Manufacturer",
    "ManufacturerModelName",
)


@dataclass(frozen=True)
class Instance:
    """One DICOM object, and the frame of it that a slice is.

    Attributes
    ----------
    sop_class, sop_uid, series_uid, study_uid
        As stored.
    frame
        1-based; None of an object that has one frame only.
    """

    sop_class: str
    sop_uid: str
    series_uid: str
    study_uid: str
    frame: int | None = None


@dataclass(frozen=True)
class Originals:
    """What an exam, or a study that was refused, was read from.

    Attributes
    ----------
    instances
        Of an exam one a slice, in the exam's order; of a refused study one an image.
    header
        The whole header of one of them, without pixels: of the study that the results belong to.
    """

    instances: tuple[Instance, ...]
    header: Dataset


@dataclass(frozen=True)
class _Found:
    instance: Instance
    file: InputFile
    modality: str


def originals_of_exam(path: str | os.PathLike[str], exam: Exam, limits: Limits | None = None) -> Originals:
    """Find the objects that an exam was read from.

    Parameters
    ----------
    path
        The input: a folder, a file or an archive.
    exam
        As it was read from there.
    limits
        How much is read; by default :meth:`Limits.from_environment`.

    Returns
    -------
    Originals
        One instance a slice.

    Raises
    ------
    RefusedInput
        ``not_found`` where the exam is no DICOM, its slices have no UIDs, or the input does not hold them (any more).
    """
    source = exam.source
    name = shown(os.fspath(path))
    if source.format != "dicom" or not source.sop_instance_uids or not all(source.sop_instance_uids):
        raise _missing(name, "slices without SOP instance UIDs", "give the study as DICOM, with its UIDs")
    bounds = limits or Limits.from_environment()
    wanted = set(source.sop_instance_uids)
    with dicom_files(Path(path), bounds) as files:
        found: dict[str, _Found] = {}
        for one in _scan(files, bounds):
            if one.instance.sop_uid in wanted:
                found.setdefault(one.instance.sop_uid, one)
        absent = len(wanted - set(found))
        if absent:
            text = f"{absent} of {len(wanted)} DICOM objects of the exam missing"
            raise _missing(name, text, "give the same input that the exam was read from")
        frames = source.frame_numbers or (None,) * exam.n_slices
        instances = tuple(
            _with_frame(found[uid].instance, frame)
            for uid, frame in zip(source.sop_instance_uids, frames, strict=True)
        )
        own = [found[i.sop_uid] for i in instances if i.study_uid == source.study_uid]
        chosen = own[0] if own else found[instances[0].sop_uid]
        return Originals(instances, open_dataset(chosen.file, bounds))


def originals_of_study(
    path: str | os.PathLike[str],
    study: str,
    series: str | None = None,
    limits: Limits | None = None,
    leave_out: Callable[[Dataset], bool] = lambda data: False,
) -> Originals:
    """Find the images of a study that could not be read as an exam.

    Parameters
    ----------
    path
        The input: a folder, a file or an archive.
    study, series
        Instance UIDs, as stored or hashed; without a series, the images of all are given.
    limits
        How much is read; by default :meth:`Limits.from_environment`.
    leave_out
        Tells of an object, by its class and its maker, that it is none of the study's own.

    Returns
    -------
    Originals
        One instance an image; CT images alone where there are some.

    Raises
    ------
    RefusedInput
        ``not_found`` where the input holds no image of the study.
    """
    bounds = limits or Limits.from_environment()
    with dicom_files(Path(path), bounds) as files:
        found: dict[str, _Found] = {}
        for one in _scan(files, bounds, leave_out):
            same = study in (one.instance.study_uid, hashed_uid(one.instance.study_uid))
            if same and series in (None, one.instance.series_uid, hashed_uid(one.instance.series_uid)):
                found.setdefault(one.instance.sop_uid, one)
        images = [one for one in found.values() if one.modality == "CT"] or list(found.values())
        if not images:
            name = shown(os.fspath(path))
            raise _missing(name, "no image of the study", "give the same input that was assessed")
        images.sort(key=lambda one: (one.instance.series_uid, one.instance.sop_uid))
        return Originals(tuple(one.instance for one in images), open_dataset(images[0].file, bounds))


def _scan(
    files: Sequence[InputFile], limits: Limits, leave_out: Callable[[Dataset], bool] = lambda data: False
) -> list[_Found]:
    """Identity of every image; files that cannot be read were spoken of when the input was read."""
    out = []
    for file in files:
        try:
            data = open_dataset(file, limits, tags=_TAGS)
        except RefusedInput:
            continue
        if leave_out(data):
            continue
        elements = Elements(data)
        texts = [elements.text(tag) for tag in _TAGS[:4]]
        sop_class, sop_uid, series_uid, study_uid = texts
        if sop_uid and study_uid and elements.integer("Rows"):
            instance = Instance(sop_class, sop_uid, series_uid, study_uid)
            out.append(_Found(instance, file, elements.text("Modality").upper()))
    return out


def _with_frame(instance: Instance, frame: int | None) -> Instance:
    return Instance(instance.sop_class, instance.sop_uid, instance.series_uid, instance.study_uid, frame)


def _missing(name: str, found: str, remedy: str) -> RefusedInput:
    return RefusedInput(
        name, "not_found", found=found, expected="the DICOM objects that the results refer to", remedy=remedy
    )
