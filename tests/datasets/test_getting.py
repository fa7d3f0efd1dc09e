"""Fetching, against a server on this machine: going on, checking, refusing; Kaggle's client stood in for by a script."""

import hashlib
import io
import json
import os
import socket
import threading
import zipfile
from base64 import b64encode
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("requests", reason="fetching needs the extra 'train'")
import requests

from ichor.datasets import fetching
from ichor.datasets.fetching import Login, Remote, fetch
from ichor.datasets.getting import get
from ichor.datasets.registry import DATASETS
from ichor.datasets.sources import Archives, Figshare, Kaggle, PhysioNet
from ichor.datasets.unpacking import unpack_into
from ichor.errors import UsageError


def quiet(text, done):
    assert text and 0 <= done <= 1


class Served:
    """Files on a loopback port, with ranges; drops a connection after ``cut`` bytes, asks for a login."""

    def __init__(self):
        self.files = {}
        self.cut = []
        self.login = None
        self.ranges = True
        self.status = None
        self.requests = []
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                served.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, handler):
        wanted = handler.headers.get("Range")
        self.requests.append((handler.path, wanted))
        body = self.files.get(handler.path)
        if self.login and handler.headers.get("Authorization") != self.login:
            return self.head(handler, 403, {}, b"")
        if self.status or body is None:
            return self.head(handler, self.status or 404, {}, b"")
        tag = f'"{hashlib.sha256(body).hexdigest()[:8]}"'
        start = 0
        if wanted and self.ranges and handler.headers.get("If-Range", tag) == tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                return self.head(handler, 416, {"Content-Range": f"bytes */{len(body)}"}, b"")
        part = body[start:]
        headers = {"ETag": tag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self.head(handler, 206 if start else 200, headers, part, self.cut.pop(0) if self.cut else None)

    def head(self, handler, status, headers, body, cut=None):
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": len(body)}.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(body[:cut])
        if cut is not None:
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True


@pytest.fixture
def served(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Served()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def session():
    with requests.Session() as opened:
        yield opened


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


BODY = os.urandom(5_000_000)
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


def test_a_dropped_connection_is_gone_on_with(served, session, tmp_path):
    served.files["/a.bin"] = BODY
    served.cut = [3_000_000, 1_500_000]
    path = fetch(Remote(f"{served.url}/a.bin", "x/a.bin", digest=DIGEST), tmp_path, quiet, session)
    assert path == tmp_path / "x" / "a.bin" and path.read_bytes() == BODY
    assert served.requests[0] == ("/a.bin", None)
    starts = [int(r.removeprefix("bytes=").rstrip("-")) for _, r in served.requests[1:]]
    assert len(starts) == 2 and 0 < starts[0] <= 3_000_000 < starts[1] <= 4_500_000
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]
    fetch(Remote(f"{served.url}/a.bin", "x/a.bin", digest=DIGEST), tmp_path, quiet, session)
    assert len(served.requests) == 3  # it was there


def test_what_an_earlier_call_left_is_gone_on_with(served, session, tmp_path):
    served.files["/a.bin"] = BODY
    (tmp_path / "a.bin.part").write_bytes(BODY[:2_000_000])
    fetch(Remote(f"{served.url}/a.bin", "a.bin", digest=DIGEST), tmp_path, quiet, session)
    assert served.requests == [("/a.bin", "bytes=2000000-")]
    (tmp_path / "a.bin").rename(tmp_path / "a.bin.part")  # whole, but killed before it got its name
    fetch(Remote(f"{served.url}/a.bin", "a.bin", digest=DIGEST), tmp_path, quiet, session)
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_another_version_on_the_server_is_not_sewn_to_the_first(served, session, tmp_path):
    served.files["/a.bin"] = BODY
    served.cut = [1_000_000]
    remote = Remote(f"{served.url}/a.bin", "a.bin")
    original, fetching._TRIES = fetching._TRIES, 1
    try:
        with pytest.raises(UsageError, match="found no answer"):
            fetch(remote, tmp_path, quiet, session)
    finally:
        fetching._TRIES = original
    served.files["/a.bin"] = other = BODY[::-1]
    assert fetch(remote, tmp_path, quiet, session).read_bytes() == other


def test_a_server_without_ranges(served, session, tmp_path):
    served.files["/a.bin"], served.ranges, served.cut = BODY, False, [1_000_000]
    assert fetch(Remote(f"{served.url}/a.bin", "a.bin"), tmp_path, quiet, session).read_bytes() == BODY


def test_a_wrong_digest_removes_the_file(served, session, tmp_path):
    served.files["/a.bin"] = BODY[:-1] + b"x"
    with pytest.raises(
        UsageError, match=f"found a file of sha256:.*expected {DIGEST}.*run the command again"
    ):
        fetch(Remote(f"{served.url}/a.bin", "a.bin", digest=DIGEST), tmp_path, quiet, session)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("status", "says"), [(404, "HTTP 404"), (403, "a login is needed or refused"), (500, "HTTP 500")]
)
def test_a_refusing_server(served, session, tmp_path, status, says):
    served.status = status
    with pytest.raises(UsageError, match=says):
        fetch(Remote(f"{served.url}/a.bin", "a.bin"), tmp_path, quiet, session)


def test_no_server(session, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a"
        with pytest.raises(UsageError, match=r"found no answer.*check the network"):
            fetch(Remote(url, "a"), tmp_path, quiet, session)


# -- sources -------------------------------------------------------------------------------------------


def test_every_data_set_that_a_publisher_offers_has_a_source():
    without = [name for name, forms in DATASETS.items() if forms[-1].info.source is None]
    assert without == ["rsna-slices", "aisd"]  # re-published by repositories


def test_a_data_set_without_a_source_says_what_to_do_by_hand(tmp_path, monkeypatch):
    (form,) = DATASETS["bhsd"]
    monkeypatch.setattr(form, "info", replace(form.info, source=None))
    with pytest.raises(UsageError, match=r"no publisher's download.*by hand from https://.*and put images"):
        get("bhsd", tmp_path, quiet)


def physionet(served, **files):
    listed = {
        "ct_scans/049.nii": b"scan",
        "masks/049.nii": b"mask",
        "hemorrhage_diagnosis_raw_ct.csv": b"P",
        **files,
    }
    for name, content in listed.items():
        served.files[f"/f/{name}"] = content
    sums = "".join(f"{hashlib.sha256(c).hexdigest()} {n}\n" for n, c in listed.items())
    served.files["/f/SHA256SUMS.txt"] = sums.encode()


def test_physionet(served, tmp_path):
    physionet(served)
    served.login = "Basic " + b64encode(b"me:secret").decode()
    source = PhysioNet(f"{served.url}/f")
    with pytest.raises(
        UsageError, match=r"a login is needed.*give --user.*by hand from https://physionet\.org.*into"
    ):
        get("ct-ich", tmp_path, quiet, source=source)
    login = Login("me", "secret")
    assert "secret" not in repr(login) + str(login)
    assert get("ct-ich", tmp_path, quiet, login, source) == []
    assert (tmp_path / "ct-ich" / "ct_scans" / "049.nii").read_bytes() == b"scan"
    n = len(served.requests)
    assert get("ct-ich", tmp_path, quiet, login, source) == [] and len(served.requests) == n


def test_physionet_list_that_leads_out_of_the_folder(served, tmp_path):
    physionet(served, **{"../../x": b"bad"})
    with pytest.raises(UsageError, match="leads out of its folder"):
        get("ct-ich", tmp_path, quiet, source=PhysioNet(f"{served.url}/f"))
    assert not (tmp_path.parent / "x").exists() and not (tmp_path / "x").exists()


def test_archives_go_on_with_what_is_left(served, tmp_path):
    served.files["/reads.csv"] = b"name\n"
    for n in range(3):
        served.files[f"/CQ500-CT-{n}.zip"] = zipped({f"CQ500CT{n} CQ500CT{n}/Unknown Study/CT/1.dcm": b"d"})
    names = ["reads.csv", *(f"CQ500-CT-{n}.zip" for n in range(3))]
    source = Archives(tuple(Remote(f"{served.url}/{name}", name) for name in names))
    third = served.files.pop("/CQ500-CT-2.zip")
    with pytest.raises(UsageError, match="HTTP 404"):
        get("cq500", tmp_path, quiet, source=source)
    served.files["/CQ500-CT-2.zip"] = third
    served.requests.clear()
    assert get("cq500", tmp_path, quiet, source=source) == []
    assert [path for path, _ in served.requests] == ["/CQ500-CT-2.zip"]
    assert len(list((tmp_path / "cq500").glob("CQ500*/Unknown Study/CT/1.dcm"))) == 3


def test_figshare_tells_what_is_left_to_do(served, tmp_path):
    content = b"zip"
    served.files["/download/7"] = content
    told = {"download_url": f"{served.url}/download/7", "name": "../set.zip", "size": 3}
    told["computed_md5"] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    served.files["/articles/5"] = json.dumps({"files": [told]}).encode()
    (todo,) = get("phe-sich", tmp_path, quiet, source=Figshare(5, served.url))
    assert "original/" in todo and "slices.csv" in todo
    assert (tmp_path / "phe-sich" / "original" / "set.zip").read_bytes() == content


# -- Kaggle --------------------------------------------------------------------------------------------


def client(tmp_path, monkeypatch, script):
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "kaggle"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")


def test_without_kaggle_s_client(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError) as told:
        get("rsna", tmp_path / "data", quiet)
    for part in (
        "pip install kaggle",
        "accept the competition's rules",
        "stage_2_train.csv",
        str(tmp_path / "data" / "rsna"),
    ):
        assert part in str(told.value)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (
            "echo 'Authentication required. Generate an API token' >&2; exit 1",
            "found no login.*kaggle auth login",
        ),
        (
            "echo '403 Client Error: Forbidden for url'; exit 1",
            "accepted the rules; accept them at https://www.kaggle",
        ),
        ("echo first; echo 'disk quota'; exit 1", r"its client failed \(disk quota\)"),
        ("exit 0", r"its client failed \(nothing\)"),
    ],
)
def test_what_kaggle_s_client_complains_of(tmp_path, monkeypatch, script, says):
    client(tmp_path, monkeypatch, script)
    with pytest.raises(UsageError, match=says):
        get("rsna", tmp_path / "data", quiet)


def test_kaggle_s_archive_is_unpacked_in_place(tmp_path, monkeypatch):
    made = tmp_path / "made.zip"
    made.write_bytes(zipped({"labels.csv": "id, hemorrhage\n0,1\n", "head_ct/head_ct/000.png": b"p"}))
    script = f'echo "$@" > {tmp_path}/said; cp {made} "$6/head-ct-hemorrhage.zip"'
    client(tmp_path, monkeypatch, script)
    assert get("head-ct-hemorrhage", tmp_path / "data", quiet) == []
    root = tmp_path / "data" / "head-ct-hemorrhage"
    said = (tmp_path / "said").read_text()
    assert said.startswith("datasets download -d felipekitamura/head-ct-hemorrhage -p ")
    assert (root / "head_ct" / "000.png").read_bytes() == b"p" and (root / "labels.csv").exists()
    assert not (root / "head-ct-hemorrhage.zip").exists()


def test_an_archive_that_is_not_the_data_set_is_told(tmp_path, monkeypatch):
    made = tmp_path / "made.zip"
    made.write_bytes(zipped({"rsna-intracranial-hemorrhage-detection/stage_2_train/ID_1.dcm": b"d"}))
    client(tmp_path, monkeypatch, f'cp {made} "$6/rsna-intracranial-hemorrhage-detection.zip"')
    (todo,) = get("rsna", tmp_path, quiet)
    assert todo == f"{tmp_path / 'rsna'} has no stage_2_train.csv"
    assert (tmp_path / "rsna" / "stage_2_train" / "ID_1.dcm").exists()


def test_kaggle_source_is_the_published_one():
    source = DATASETS["rsna"][-1].info.source
    assert isinstance(source, Kaggle) and source.what == "competitions"


# -- unpacking -----------------------------------------------------------------------------------------


def test_unpacking_goes_on(tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(
        zipped({"top/a.txt": "aaa", "top/b.txt": "bbb", "__MACOSX/x": "x", "top/._a.txt": "x"})
    )
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.txt").write_text("AAA")  # as long as it should be: an earlier call's
    (out / "b.txt").write_text("b")
    unpack_into(archive, out, quiet, strip="top")
    assert {p.name: p.read_text() for p in out.iterdir()} == {"a.txt": "AAA", "b.txt": "bbb"}


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o120777 << 16
    return entry


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"../x": b""}, "leads out of its folder"),
        ({"/x": b""}, "leads out of its folder"),
        ({"a/..\\..\\x": b""}, "leads out of its folder"),
        ({"a": b"", link("b"): b"../../x"}, "an entry that is a link"),
        ({"a": b"\0" * 110_000_000}, "unpacks to"),
    ],
)
def test_an_unsafe_archive_is_refused_before_anything_is_unpacked(tmp_path, files, says):
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped(files))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UsageError, match=says):
        unpack_into(archive, out, quiet)
    assert not list(out.iterdir())


def test_a_broken_archive_and_a_full_disk(tmp_path, monkeypatch):
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"PK\3\4 no zip")
    with pytest.raises(UsageError, match=r"cannot be unpacked \(BadZipFile\)"):
        unpack_into(archive, tmp_path, quiet)
    archive.write_bytes(zipped({"a": b"12345"}))
    monkeypatch.setattr(
        "shutil.disk_usage", lambda _: os.statvfs_result([0] * 10) and type("U", (), {"free": 4})()
    )
    with pytest.raises(UsageError, match=r"found 0\.0 GB free"):
        unpack_into(archive, tmp_path, quiet)
