"""A server that speaks S3 on this machine: moto."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bulk.cluster import free_port
from bulk.made import environment

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}


@contextlib.contextmanager
def moto(folder: Path, *buckets: str) -> Iterator[str]:
    """Give host and port of an empty server, with some buckets; :data:`KEYS` must be in the environment."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=5).close()
                break
            assert process.poll() is None, (folder / "moto.log").read_text()
            time.sleep(0.2)
        for bucket in buckets:
            from pyarrow import fs

            fs.S3FileSystem(
                endpoint_override=f"127.0.0.1:{port}",
                scheme="http",
                region="us-east-1",
                allow_bucket_creation=True,
            ).create_dir(bucket)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
