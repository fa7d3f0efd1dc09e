"""DICOM files to exams: headers, the series that is taken, the sorted stack, its pixels in Hounsfield units."""

from ichor.reading.muting import hidden_module

# pydicom imports requests, where it is installed, to download its own test data, which is never done here. That
# import opens a socket, to see whether there is IPv6, and takes a twentieth of a second.
with hidden_module("requests"):
    from ichor.reading.dicom.dataset import is_dicom
    from ichor.reading.dicom.studies import read_dicom

__all__ = ["is_dicom", "read_dicom"]
