"""SOP classes and transfer syntaxes that the node takes: those that reading reads. Deflated is off."""

from __future__ import annotations

from pydicom import uid

__all__ = ["IMAGE_CLASSES", "OTHER_CLASSES", "TRANSFER_SYNTAXES"]

IMAGE_CLASSES = (
    uid.CTImageStorage,
    uid.EnhancedCTImageStorage,
    uid.LegacyConvertedEnhancedCTImageStorage,
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)
"""What may be assessed; a secondary capture where it has a CT's positions and scale."""
OTHER_CLASSES = (
    uid.SegmentationStorage,
    uid.BasicTextSRStorage,
    uid.EnhancedSRStorage,
    uid.ComprehensiveSRStorage,
    uid.Comprehensive3DSRStorage,
    uid.XRayRadiationDoseSRStorage,
    uid.KeyObjectSelectionDocumentStorage,
    uid.GrayscaleSoftcopyPresentationStateStorage,
    uid.EncapsulatedPDFStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    uid.MRImageStorage,
    uid.EnhancedMRImageStorage,
)
"""What archives send along with a study: taken so that they do not try for ever, forwarded or dropped, counted."""
TRANSFER_SYNTAXES = [
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.UID(
        "1.2.840.10008.1.2.4.53"
    ),  # spectral selection and full progression: retired, and still in archives
    uid.UID("1.2.840.10008.1.2.4.55"),
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
    uid.RLELossless,
]
"""The sender's order counts."""
