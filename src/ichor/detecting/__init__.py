"""Detecting: an exam in, findings out; a bundle (a model and all it needs), its engine, quality, regions."""

from ichor.detecting.bundle import Bundle, BundleCard, load_bundle
from ichor.detecting.detect import Detection, detect, detect_all

__all__ = ["Bundle", "BundleCard", "Detection", "detect", "detect_all", "load_bundle"]
