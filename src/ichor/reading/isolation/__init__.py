"""Reading in a disposable process: a broken or hostile file ends that process, and its input is refused by name."""

from ichor.reading.isolation.pool import read_path, warm

__all__ = ["read_path", "warm"]
