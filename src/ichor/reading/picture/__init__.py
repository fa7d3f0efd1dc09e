"""Picture files to slices: decoded, flattened, evened in their light, each slice found and cut out."""

from ichor.reading.picture.files import is_picture, read_pictures

__all__ = ["is_picture", "read_pictures"]
