"""The page as a secondary capture, and as an encapsulated PDF."""

from __future__ import annotations

import io
import time

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from ichor.reading.originals import Instance
from ichor.results.case import Case
from ichor.results.finishing import started
from ichor.results.kinds import KINDS
from ichor.results.page import key_slices, page
from ichor.results.references import image_reference

__all__ = ["capture", "encapsulated_pdf"]

_PDF_SCALE = 2
_PDF_DPI = 150
_TITLE = "ichor: suspected hemorrhage on head CT"


def capture(case: Case, sop_uid: str) -> Dataset:
    """Make the secondary capture.

    Parameters
    ----------
    case
        Assessed or not.
    sop_uid
        Of the object.

    Returns
    -------
    pydicom.Dataset
        Not finished: see :func:`ichor.results.finishing.finished`.
    """
    data = started(KINDS["sc"], case.identity, sop_uid)
    pixels = np.asarray(page(case))
    data.ConversionType = "WSD"
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.ContentDate = data.ContentTime = ""  # set with all dates
    data.BodyPartExamined = "HEAD"
    data.PatientOrientation = None
    data.BurnedInAnnotation = "YES"
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
    data.Rows, data.Columns = pixels.shape[:2]
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = pixels.tobytes()
    data.SourceImageSequence = DicomSequence(image_reference(i) for i in _shown(case))
    return data


def encapsulated_pdf(case: Case, sop_uid: str) -> Dataset:
    """Make a PDF of the page, within a DICOM object.

    Parameters
    ----------
    case
        Assessed or not.
    sop_uid
        Of the object.

    Returns
    -------
    pydicom.Dataset
        Not finished: see :func:`ichor.results.finishing.finished`.
    """
    data = started(KINDS["pdf"], case.identity, sop_uid)
    content = _pdf(case)
    data.ContentDate = data.ContentTime = ""  # set with all dates
    data.AcquisitionDateTime = ""
    data.ConversionType = "WSD"
    data.BurnedInAnnotation = "YES"
    data.DocumentTitle = _TITLE
    data.ConceptNameCodeSequence = DicomSequence()
    data.MIMETypeOfEncapsulatedDocument = "application/pdf"
    data.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    data.EncapsulatedDocumentLength = len(content)
    data.SourceInstanceSequence = DicomSequence(image_reference(i) for i in _shown(case))
    return data


def _shown(case: Case) -> list[Instance]:
    """Images on the page; of a case without pictures, the first."""
    found: dict[str, Instance] = {}
    for k in key_slices(case) or [0]:
        instance = case.originals.instances[k]
        found.setdefault(f"{instance.sop_uid} {instance.frame}", instance)
    return list(found.values())


def _pdf(case: Case) -> bytes:
    stream = io.BytesIO()
    moment = time.strptime(case.identity.moment.both, "%Y%m%d%H%M%S")
    page(case, _PDF_SCALE).save(
        stream,
        "PDF",
        resolution=_PDF_DPI * _PDF_SCALE,
        quality=92,
        title=_TITLE,
        creationDate=moment,
        modDate=moment,
    )
    return stream.getvalue()
