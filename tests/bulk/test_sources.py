"""Sources on a network: S3 (moto as a server) and DICOMweb (Debian's Orthanc) give the rows of the folder."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs the extra 'scale'")
pytest.importorskip("moto", reason="needs the extra 'test-scale'")

from pyarrow import fs

from bulk.made import BUNDLE, bulk, raw_keys, rows
from bulk.s3 import KEYS, moto
from results.archive.peers import orthanc
from results.made import written

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
    with moto(tmp_path) as host:
        yield host


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


def test_an_object_that_cannot_be_read_fails_and_objects_go_to_the_store(store, tmp_path, monkeypatch):
    """Objects in a cold class are listed, and reading them fails: an error as stores really give it."""
    pytest.importorskip("highdicom", reason="needs the extra 'results'")
    import boto3

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    folder = written(tmp_path / "study", "even")
    client = boto3.client("s3", endpoint_url=f"http://{store}", region_name="us-east-1")
    client.create_bucket(Bucket="scans")
    for path in sorted(folder.iterdir()):
        client.put_object(Bucket="scans", Key=f"ct/a/{path.name}", Body=path.read_bytes())
    cold = {"ct/b.zip": b"PK", "ct/c/1.dcm": path.read_bytes()}
    for key, body in cold.items():
        client.put_object(Bucket="scans", Key=key, Body=body, StorageClass="GLACIER")
    more = f"?endpoint_override={store}&scheme=http&region=us-east-1"
    out = tmp_path / "out"
    words = (f"s3://scans/ct{more}", "-o", out, "--jobs", 1, "--bundle", BUNDLE, "--write", "seg,sr")
    done = bulk(*words, "--objects", f"s3://nowhere/results{more}")
    assert done.returncode == 2
    assert "s3://nowhere/results: found nothing there" in done.stderr
    words = (*words, "--objects", f"s3://scans/results{more}")
    done = bulk(*words)
    assert done.returncode == 3, done.stderr
    found = {row["input"]: row for row in rows(out)}
    assert {name: row["state"] for name, row in found.items()} == {
        "a": "assessed",
        "b.zip": "failed",
        "c": "failed",
    }
    assert {found[name]["code"] for name in ("b.zip", "c")} == {"error"}
    assert found["b.zip"]["message"].startswith("OSError at object_store.py:")
    assert found["a"]["stored"] is True
    place = f"results/{found['a']['unit'][:2]}/{found['a']['unit']}-0"
    kept = {o["Key"] for o in client.list_objects_v2(Bucket="scans", Prefix="results/")["Contents"]}
    left_out = "result_left_out" in [n["code"] for n in found["a"]["notices"]]
    assert kept == {f"{place}/sr.dcm", *([] if left_out else [f"{place}/seg.dcm"])}
    for key, body in cold.items():  # taken out of the cold class
        client.put_object(Bucket="scans", Key=key, Body=body)
    done = bulk(*words, "--retry-failed")
    assert done.returncode == 0, done.stderr
    assert {row["state"] for row in rows(out) if row["input"] == "b.zip"} == {"refused"}


def test_an_archive_takes_the_objects_also_where_it_is_away_at_first(tmp_path):
    pytest.importorskip("highdicom", reason="needs the extra 'results'")
    pytest.importorskip("dicomweb_client")
    written(tmp_path / "root" / "a", "even")
    out = tmp_path / "out"
    with orthanc(tmp_path) as archive:
        place = f"dicomweb+http://127.0.0.1:{archive.port}/dicom-web"
        words = (tmp_path / "root", "-o", out, "--jobs", 1, "--bundle", BUNDLE, "--write", "sr,sc")
        done = bulk(*words, "--objects", place + "-gone")
        assert done.returncode == 3, done.stderr
        assert "1 whose DICOM objects could not be stored; --retry-failed" in done.stderr
        (row,) = rows(out)
        assert (row["state"], row["stored"]) == ("assessed", False), "the result is not lost"
        (notice,) = [n for n in row["notices"] if n["code"] == "result_left_out"]
        assert "found that the archive does not take them (status 404)" in notice["message"]
        assert archive.count() == 0
        assert bulk(*words, "--objects", place).returncode == 2, "another target is another run"
        run = out / "run.json"
        run.write_text(run.read_text().replace("-gone", ""))
        done = bulk(*words, "--objects", place, "--retry-failed")
        assert done.returncode == 0, done.stderr
        (row,) = rows(out)
        assert (row["stored"], row["revision"], archive.count()) == (True, 2, 2)


def test_a_target_that_is_busy_is_asked_again(tmp_path):
    """A server that answers 503, then takes what comes; its second answer, of status 200, is empty."""
    pytest.importorskip("highdicom", reason="needs the extra 'results'")
    pytest.importorskip("dicomweb_client")
    from ichor.bulk.assessing import Assessor, Settings, Task

    written(tmp_path / "a", "even")
    got: list[tuple[str, int]] = []

    class Busy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            got.append((self.path, len(self.rfile.read(length))))
            self.send_response(503 if len(got) == 1 else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        place = f"dicomweb+http://127.0.0.1:{server.server_address[1]}/pacs"
        assessor = Assessor(Settings(str(tmp_path / "a"), BUNDLE, kinds=("sr",), objects=place))
        (unit,) = assessor.source.discover()
        (row,) = assessor.rows(Task(unit))
    finally:
        server.shutdown()
        server.server_close()
    assert (row["state"], row["stored"]) == ("assessed", True)
    assert [path for path, _ in got] == ["/pacs/studies"] * 2
    assert got[0][1] == got[1][1] > 1000


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
