"""Refusals of what ended, or would have ended, the process that read it."""

from __future__ import annotations

from ichor.errors import RefusedInput

__all__ = ["refusal"]

_TEXTS = {
    "decoder_failed": (
        "data on which the decoder failed and ended its process",
        "an image that can be decoded",
        "send the image again from its source; do not open it with other programs",
    ),
    "limit_memory": (
        "data that take more memory than they may",
        "memory in proportion to the size of the input",
        "check the file, or raise the limit with --limit memory_bytes=VALUE",
    ),
    "limit_time": (
        "data that take longer to read than they may",
        "an input that is read within the limits seconds and file_seconds",
        "check the file, or raise the limit with --limit seconds=VALUE or file_seconds=VALUE",
    ),
}


def refusal(code: str, name: str, fault: str = "") -> RefusedInput:
    """Make the refusal of an input or a file.

    Parameters
    ----------
    code
        ``decoder_failed``, ``limit_memory`` or ``limit_time``.
    name
        As the user knows it.
    fault
        An error of the reader itself: its kind and place, without its text.
    """
    found, expected, remedy = _TEXTS[code]
    if fault:
        found, remedy = f"an error of the reader itself ({fault})", "report it, if the file is sound"
    return RefusedInput(name, code, found=found, expected=expected, remedy=remedy)
