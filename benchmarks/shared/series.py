"""A series of DICOM files as a scanner stores it, from a real exam."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ichor.datasets.ct_ich import CtIch

__all__ = ["SLICES", "write_series"]

SLICES = 30


def write_series(
    folder: Path,
    data: Path,
    *,
    patient: str = "",
    slices: int = SLICES,
    study: str = "",
    modality: str = "CT",
) -> None:
    """Write slices of 512 x 512 from a real exam, as a scanner stores them.

    Parameters
    ----------
    folder
        Exists.
    data
        Folder of the public data sets.
    patient
        Of CT-ICH; by default the one with the most slices.
    slices
        How many, evenly over the exam.
    study, modality
        To be written; a new UID by default.
    """
    root = CtIch(data / "ct-ich")
    patient = patient or max(sorted(root.patients()), key=lambda p: len(root.slice_labels(p)))
    exam = root.load(patient).exam
    which = np.round(np.linspace(0, exam.n_slices - 1, slices)).astype(int)
    step = 5.0 if slices == SLICES else round(5.0 * exam.n_slices / slices, 3)
    study, series, frame = study or generate_uid(), generate_uid(), generate_uid()
    pixel = exam.geometry.spacing[0] * exam.volume.shape[1] / 512
    for k, source in enumerate(which):
        plane = np.asarray(Image.fromarray(exam.volume[source].astype(np.float32)).resize((512, 512)))
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        d.SOPClassUID, d.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = study, series, frame
        d.Modality, d.BodyPartExamined, d.InstanceNumber = modality, "HEAD", k + 1
        d.ImageType, d.PatientID, d.PatientName = ["ORIGINAL", "PRIMARY", "AXIAL"], "none", "none"
        d.ImagePositionPatient, d.ImageOrientationPatient = [0, 0, step * k], [1, 0, 0, 0, 1, 0]
        d.PixelSpacing, d.SliceThickness = [round(pixel, 5), round(pixel, 5)], step
        d.RescaleIntercept, d.RescaleSlope, d.RescaleType = -1024, 1, "HU"
        d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation = 512, 512, 1, "MONOCHROME2"
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
        d.PixelData = np.clip(plane + 1024, 0, 4095).astype(np.uint16).tobytes()
        d.save_as(folder / f"{k:03d}.dcm", enforce_file_format=True)
