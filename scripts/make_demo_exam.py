"""Make the example exam of ``ichor demo``: a head averaged from normal exams, with a simulated bleed.

Usage: python scripts/make_demo_exam.py DATA [OUT [TEMPLATE.npy]]   (TEMPLATE keeps the mean for another try)

Fourteen normal adult exams of CT-ICH (Hssayeni et al., Data 2020, 5(1):14; CC BY 4.0), every second one
mirrored, are registered to their own evolving mean and averaged (``demo_template.py``): no patient's exam is
in the result, nor one's shape. The vertex, which those exams leave out, is closed; then come a hematoma of
known volume in the left basal ganglia with a rim of oedema, and the noise of 5 mm slices (``demo_bleed.py``).
Written: ``demo.zip`` (DICOM, JPEG-LS lossless), ``truth.json`` (volume and place of the bleed) and
``PROVENANCE.md``. Needs SimpleITK (pip install SimpleITK), which ichor itself does not; takes about five
minutes of one core.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pydicom
from demo_bleed import add_bleed, add_noise, close_vertex, sharpen
from demo_template import PATIENTS, PIXEL_MM, STEP_MM, template
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless

from ichor.uids import hashed_uid

FIRST, SLICES = 3, 30
"""First slice of the template that is used (the foramen magnum; below it necks bend), and how many."""
FIRST_OBLIQUE = 18
"""From this slice of the exam on the vault closes in."""
BLEED_AT = (13.6, 251.0, 305.0)
"""Slice, row, column of the left putamen."""
BLEED_ML = 20.0
NOISE_HU = 3.6
SEED = 7
COMMENT = "simulated; averaged from CT-ICH (Hssayeni et al. 2020, CC BY 4.0); no patient"

PROVENANCE = f"""# The example exam

Made by `scripts/make_demo_exam.py`: the trimmed mean of {len(PATIENTS)} normal exams of CT-ICH, every second
one mirrored, registered to each other, with the vertex closed and a simulated hematoma. It is no patient's
exam, and its header is synthetic.

Source: Hssayeni M. D. et al., Intracranial Hemorrhage Segmentation Using a Deep Convolutional Model, Data
2020, 5(1):14; PhysioNet ct-ich v1.2.0. Licence of source and result: CC BY 4.0.

`truth.json` holds the volume of the simulated bleed (partial voxels counted by their share) and where
it lies, in voxels at least half blood: slice from below, row, column, from 0 on.

The default model was trained on CT-ICH, and so on exams that this one is averaged from. That it finds this
bleed shows that the parts work together, not how good the model is.
"""


def main(data: Path, out: Path, kept: Path | None) -> None:
    """Make the exam and write it."""
    if kept is not None and kept.is_file():
        mean = np.load(kept)
    else:
        mean = template(data)
        if kept is not None:
            np.save(kept, mean)
    volume = sharpen(close_vertex(mean[FIRST:], SLICES), FIRST_OBLIQUE)
    volume, share = add_bleed(volume, BLEED_AT, BLEED_ML, (STEP_MM, PIXEL_MM, PIXEL_MM), SEED)
    out.mkdir(parents=True, exist_ok=True)
    write(add_noise(volume, NOISE_HU, SEED + 1), share, out)


def write(volume: NDArray[np.int16], share: NDArray[np.float32], out: Path) -> None:
    """Write the DICOM series as a zip, the truth, and where it all comes from."""
    with zipfile.ZipFile(out / "demo.zip", "w") as archive:
        for k, plane in enumerate(volume):
            buffer = io.BytesIO()
            dicom(plane, k).save_as(buffer, enforce_file_format=True)
            entry = zipfile.ZipInfo(f"demo/{k + 1:03d}.dcm", date_time=(2026, 1, 1, 0, 0, 0))
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED)
    where = np.argwhere(share > 0.5)
    truth = {
        "label": "intraparenchymal",
        "volume_ml": round(float(share.sum()) * STEP_MM * PIXEL_MM**2 / 1000, 3),
        "slices": sorted({int(k) for k in where[:, 0]}),
        "first_voxel": where.min(axis=0).tolist(),
        "last_voxel": where.max(axis=0).tolist(),
        "centre_voxel": [round(float(v), 2) for v in where.mean(axis=0)],
    }
    (out / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
    (out / "PROVENANCE.md").write_text(PROVENANCE)


def dicom(plane: NDArray[np.int16], k: int) -> FileDataset:
    """One CT image, JPEG-LS lossless."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(hashed_uid(f"ichor demo slice {k}"))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = (
        hashed_uid("ichor demo study"),
        hashed_uid("ichor demo series"),
    )
    image.FrameOfReferenceUID = hashed_uid("ichor demo frame")
    image.PatientName, image.PatientID = "ichor^demo", "ichor-demo"
    image.PatientBirthDate = image.PatientSex = image.StudyDate = image.StudyTime = ""
    image.AccessionNumber = image.ReferringPhysicianName = image.StudyID = ""
    image.Modality, image.Manufacturer, image.BodyPartExamined = "CT", "ichor", "HEAD"
    image.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    image.SeriesDescription, image.ImageComments = "HEAD 5.0 simulated", COMMENT
    image.SeriesNumber, image.InstanceNumber = 1, k + 1
    image.AcquisitionNumber, image.KVP, image.PositionReferenceIndicator = 1, "", ""
    image.PatientPosition, image.SliceLocation = "HFS", k * STEP_MM
    edge = round(-PIXEL_MM * (plane.shape[0] - 1) / 2, 3)
    image.ImagePositionPatient = [edge, edge, k * STEP_MM]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness = [PIXEL_MM, PIXEL_MM], STEP_MM
    image.Rows, image.Columns = plane.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, -1024, "HU"
    image.WindowCenter, image.WindowWidth = 40, 80
    image.PixelData = (plane.astype(np.int32) + 1024).astype("<u2").tobytes()
    image.compress(JPEGLSLossless, generate_instance_uid=False)
    return image


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    pydicom.config.settings.writing_validation_mode = pydicom.config.RAISE
    package = Path(__file__).parents[1] / "src" / "ichor" / "demo"
    arguments = [Path(argument) for argument in sys.argv[1:]]
    main(
        arguments[0],
        arguments[1] if len(arguments) > 1 else package,
        arguments[2] if len(arguments) > 2 else None,
    )
