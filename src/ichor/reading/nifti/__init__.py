"""NIfTI volumes, single files and pairs, to exams, and the way of a mask back to the file's own axes."""

from ichor.reading.nifti.files import NiftiFile, NiftiPart, nifti_part, pair_up, partner_of
from ichor.reading.nifti.volume import read_nifti, to_nifti_space

__all__ = [
    "NiftiFile",
    "NiftiPart",
    "nifti_part",
    "pair_up",
    "partner_of",
    "read_nifti",
    "to_nifti_space",
]
