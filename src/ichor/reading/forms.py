"""Forms of file that ichor does not read, by their first bytes: what each is, and what to do with it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OFFICE", "START_BYTES", "Form", "known_form"]

START_BYTES = 512
"""Bytes from the start of a file that :func:`known_form` looks at."""


@dataclass(frozen=True)
class Form:
    """A form of file.

    Attributes
    ----------
    what
        With its article.
    remedy
        What to do, in the form of an order.
    """

    what: str
    remedy: str


_ARCHIVE = "unpack it and give the folder, or pack the study as zip"
_EXPORT = "export the slice as PNG or JPEG"
_CONVERT = "convert it to NIfTI, or give the DICOM files"
_STARTS = (
    (b"7z\xbc\xaf\x27\x1c", Form("a 7z archive", _ARCHIVE)),
    (b"Rar!\x1a\x07", Form("a RAR archive", _ARCHIVE)),
    (b"BZh", Form("a file packed by bzip2", _ARCHIVE)),
    (b"\xfd7zXZ\x00", Form("a file packed by xz", _ARCHIVE)),
    (b"\x28\xb5\x2f\xfd", Form("a file packed by zstd", _ARCHIVE)),
    (b"\x04\x22\x4d\x18", Form("a file packed by lz4", _ARCHIVE)),
    (b"\x1f\x9d", Form("a file packed by compress", _ARCHIVE)),
    (b"%PDF-", Form("a PDF document", f"{_EXPORT}, or give the DICOM files")),
    (b"NRRD0", Form("an NRRD volume", _CONVERT)),
    (b"\x93NUMPY", Form("a NumPy array", _CONVERT)),
    (b"\x89HDF\r\n\x1a\n", Form("an HDF5 file (MINC, MATLAB)", _CONVERT)),
    (b"CDF\x01", Form("a MINC volume", _CONVERT)),
    (b"MATLAB 5.0", Form("a MATLAB file", _CONVERT)),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Form("a JPEG 2000 picture", _EXPORT)),
    (b"\xff\x4f\xff\x51", Form("a JPEG 2000 picture", _EXPORT)),
    (b"\xff\x0a", Form("a JPEG XL picture", _EXPORT)),
    (b"\x00\x00\x00\x0cJXL ", Form("a JPEG XL picture", _EXPORT)),
    (b"8BPS", Form("a Photoshop picture", _EXPORT)),
    (b"%!PS", Form("a PostScript drawing", _EXPORT)),
    (b"\xc5\xd0\xd3\xc6", Form("a PostScript drawing", _EXPORT)),
    (b"{\\rtf", Form("a text document", _EXPORT)),
    (b"\x00\x00\x01\x00", Form("an icon", _EXPORT)),
    (b"\x76\x2f\x31\x01", Form("an OpenEXR picture", _EXPORT)),
    (b"SIMPLE  =", Form("a FITS image", _CONVERT)),
    *(
        (b"P%d" % k + end, Form("a PNM picture", _EXPORT))
        for k in range(1, 8)
        for end in (b"\n", b" ", b"\r", b"\t")
    ),
    (b"\x00\x00\x00\x01\x00\x00", Form("a FreeSurfer volume", _CONVERT)),
    (b"\x1a\x45\xdf\xa3", Form("a video", _EXPORT)),
    (b"\x00\x00\x01\xba", Form("a video", _EXPORT)),
    (b"\x00\x00\x01\xb3", Form("a video", _EXPORT)),
    (b"FLV\x01", Form("a video", _EXPORT)),
)
_BRANDS = (
    ((b"avif", b"avis"), Form("an AVIF picture", _EXPORT)),
    (
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
        Form("an HEIC picture (as iPhones take them)", "export it as JPEG"),
    ),
    ((b"crx ",), Form("a camera's raw picture", "export it as JPEG")),
)
_VIDEO = Form("a video", _EXPORT)
_MARKED_UP = (
    (("<svg", "<!doctype svg"), Form("an SVG drawing", _EXPORT)),
    (
        ("<html", "<!doctype html"),
        Form("a web page, as comes where a download failed", "fetch the study again"),
    ),
)
OFFICE = Form("an Office document", _EXPORT)
"""What old ones and new ones (a zip archive with parts of their own) are."""
_META_IMAGE = Form("a MetaImage volume", _CONVERT)


def known_form(start: bytes) -> Form | None:
    """Name a form of file; None where it is not known, or one that ichor reads.

    Parameters
    ----------
    start
        The file's first :data:`START_BYTES` bytes.
    """
    if start.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return OFFICE
    for magic, form in _STARTS:
        if start.startswith(magic):
            return form
    if start[4:8] == b"ftyp":
        # The brands that a file is compatible with stand in its first box.
        box = start[8 : max(12, min(len(start), int.from_bytes(start[:4], "big")))]
        brands = {box[k : k + 4] for k in range(0, len(box), 4)}
        return next((form for names, form in _BRANDS if brands & set(names)), _VIDEO)
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return _VIDEO
    head = start.decode("latin-1")
    if head.lstrip("\xef\xbb\xbf \r\n\t").startswith("<"):
        text = head.lower()
        return next((form for marks, form in _MARKED_UP if any(mark in text for mark in marks)), None)
    if head.startswith(("ObjectType", "NDims")) and "=" in head:
        return _META_IMAGE
    return None
