"""Reading: from what lies on disk to exams and pictures, with everything odd about them reported."""

from ichor.reading.calls import read, read_all

__all__ = ["read", "read_all"]
