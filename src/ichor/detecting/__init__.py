"""Detecting: an exam in, findings out; a bundle (a model and all it needs), its sessions, scores, quality, regions."""

from ichor.detecting.bundle import Bundle, BundleCard, load_bundle
from ichor.detecting.calls import detect, detect_all
from ichor.detecting.detector import Detection, Detector, Options
from ichor.detecting.picture_stack import PictureStack

__all__ = [
    "Bundle",
    "BundleCard",
    "Detection",
    "Detector",
    "Options",
    "PictureStack",
    "detect",
    "detect_all",
    "load_bundle",
]
