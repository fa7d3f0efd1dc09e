"""Sources on a network: S3 (moto as a server) and DICOMweb (Debian's Orthanc) give the rows of the folder."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs the extra 'scale'")
pytest.importorskip("moto", reason="needs the extra 'test-scale'")

from pyarrow import fs

from bulk.cluster import free_port
from bulk.made import BUNDLE, bulk, environment, raw_keys, rows
from results.archive.peers import orthanc

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
DIFFERS = {"seconds", "stage_seconds", "time", "worker", "input", "source", "bytes", "attempts", "revision"}
"""Columns of a row that tell of its place and its time, not of what was found."""


def found(out: Path) -> dict[str, dict]:
    """What the rows say of each unit, without where it lay and how long it took."""
    return {
        f"{row['unit']} {row['row']}": {k: v for k, v in row.items() if k not in DIFFERS} for row in rows(out)
    }


@pytest.fixture
def store(tmp_path):
    """The address of an empty server of S3."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (tmp_path / "moto.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=5).close()
                break
            assert process.poll() is None, (tmp_path / "moto.log").read_text()
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_objects_of_a_store_give_the_rows_of_the_folder(assessed, store, tmp_path, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    there = fs.S3FileSystem(
        endpoint_override=store, scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    there.create_dir("scans")
    for path in sorted(p for p in assessed.root.rglob("*") if p.is_file()):
        with there.open_output_stream(f"scans/ct/{path.relative_to(assessed.root).as_posix()}") as stream:
            stream.write(path.read_bytes())
    address = f"s3://scans/ct?endpoint_override={store}&scheme=http&region=us-east-1"
    out = tmp_path / "out"
    done = bulk(address, "-o", out, "--jobs", 2, "--bundle", BUNDLE)
    assert done.returncode == 0, done.stderr
    assert "1 files that are no images" in done.stderr
    there_found, here_found = found(out), found(assessed.out)
    assert there_found.keys() == here_found.keys()
    for unit, row in there_found.items():
        numbers = {k: v for k, v in row.items() if k not in ("message", "notices")}
        assert numbers == {k: here_found[unit][k] for k in numbers}
        assert [n["code"] for n in row["notices"]] == [n["code"] for n in here_found[unit]["notices"]]
    assert "test" not in (out / "run.json").read_text().replace("latest", "")
    done = bulk(address, "-o", out, "--bundle", BUNDLE)
    assert (done.returncode, "new: none" in done.stderr) == (0, True)
    done = bulk("s3://key:secret@scans/ct", "-o", tmp_path / "other")
    assert done.returncode == 2
    assert "secret" not in done.stderr.replace("AWS_SECRET_ACCESS_KEY", "")


def test_an_archive_gives_the_rows_of_the_folder(assessed, tmp_path):
    pytest.importorskip("dicomweb_client")
    with orthanc(tmp_path) as archive:
        for name in ("a", "f"):
            for path in sorted(p for p in (assessed.root / name).rglob("*") if p.is_file()):
                archive.store(path.read_bytes())
        address = f"dicomweb+http://127.0.0.1:{archive.port}/dicom-web"
        done = bulk(address, "-o", tmp_path / "out", "--jobs", 2, "--bundle", BUNDLE)
        assert done.returncode == 0, done.stderr
        there, here = found(tmp_path / "out"), found(assessed.out)
        assert len(there) == len(raw_keys(tmp_path / "out")) == 3
        for unit, row in there.items():
            probabilities = {
                k: row[k] for k in ("study_uid", "series_uid", "probabilities", "slices", "regions")
            }
            assert probabilities == {k: here[unit][k] for k in probabilities}
        done = bulk("check", tmp_path / "out", address)
        assert done.returncode == 0, done.stdout
