"""DICOM files to exams: headers, the series that is taken, the sorted stack, its pixels in Hounsfield units."""

from ichor.reading.muting import without_requests

with without_requests():
    from ichor.reading.dicom.dataset import is_dicom
    from ichor.reading.dicom.studies import read_dicom

__all__ = ["is_dicom", "read_dicom"]
