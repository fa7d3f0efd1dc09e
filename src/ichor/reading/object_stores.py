"""Stores such as S3, through pyarrow's file systems (the extra ``scale``)."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from ichor.errors import UsageError

__all__ = ["open_store"]


def open_store(address: str, below: Literal["bucket", "prefix"] = "bucket") -> tuple[Any, str]:
    """Open the file system that an address names.

    Parameters
    ----------
    address
        ``s3://bucket/prefix``; options of the file system after ``?``, such as ``endpoint_override``. Credentials come
        from the environment, as of any AWS client.
    below
        What must exist: the bucket, or something below the prefix, too.

    Returns
    -------
    tuple
        The file system of pyarrow, and the path of the prefix in it.

    Raises
    ------
    UsageError
        Where the extra is missing, the address cannot be used, names credentials, or nothing is there.
    """
    shown = address.partition("?")[0]
    parts = urlsplit(address)
    if parts.username or parts.password or "secret_key" in parts.query:
        raise UsageError(
            "found credentials in the address of a store; expected them in the environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), as addresses are written down; leave them out"
        )
    try:
        from pyarrow import ArrowException, fs
    except ImportError:
        raise UsageError(
            f"{shown}: found no package pyarrow; expected the extra 'scale'; in the clone, run pip install '.[scale]'"
        ) from None
    try:
        opened, root = fs.FileSystem.from_uri(address)
        found = opened.get_file_info(root if below == "prefix" else root.partition("/")[0])
    except (ArrowException, OSError, ValueError) as error:
        what = f"an address that cannot be opened ({type(error).__name__})"
    else:
        if found.type != fs.FileType.NotFound:
            return opened, root
        what = "nothing there"
    raise UsageError(
        f"{shown}: found {what}; expected s3://bucket/prefix that can be used; check the address, "
        "the credentials and the region in the environment"
    )
