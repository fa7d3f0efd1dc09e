"""A real archive (Debian's Orthanc) and a real viewer (npm's OHIF) on loopback."""

from __future__ import annotations

import contextlib
import http.client
import json
import mimetypes
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]
"""Of a Chromium without a graphics card."""
_PLUGINS = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_VIEWER_CONFIG = {
    "routerBasename": None,
    "extensions": [],
    "modes": [],
    "customizationService": {},
    "showStudyList": True,
    "maxNumberOfWebWorkers": 2,
    "showLoadingIndicator": True,
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": False,
    "strictZSpacingForVolumeViewport": True,
    "groupEnabledModesFirst": True,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "dicomweb",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "dicomweb",
            "configuration": {
                "friendlyName": "Orthanc",
                "name": "orthanc",
                "wadoUriRoot": "/dicom-web",
                "qidoRoot": "/dicom-web",
                "wadoRoot": "/dicom-web",
                "qidoSupportsIncludeField": False,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "supportsFuzzyMatching": False,
                "supportsWildcard": True,
                "dicomUploadEnabled": False,
                "singlepart": "bulkdata,video,pdf",
                "bulkDataURI": {"enabled": True},
                "omitQuotationForMultipartRequest": True,
            },
        }
    ],
}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Archive:
    """An Orthanc that answers this machine only."""

    def __init__(self, port: int) -> None:
        self.port = port

    def store(self, content: bytes) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/instances",
            data=content,
            headers={"Content-Type": "application/dicom"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["Status"] in ("Success", "AlreadyStored")

    def count(self) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/instances", timeout=60) as answer:
            return len(json.load(answer))


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[Archive]:
    """Start an empty archive."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    compiler = shutil.which("cc")
    if program is None or not _PLUGINS.exists() or compiler is None:
        pytest.skip(
            "needs Orthanc with its DICOMweb plugin (Debian: orthanc orthanc-dicomweb) and a C compiler"
        )
    shim = folder / "loopback.so"
    source = Path(__file__).parent / "loopback.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    port = free_port()
    config = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "DicomPort": free_port(),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(_PLUGINS)],
        "DicomWeb": {"Enable": True, "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(folder / "orthanc.json")],
            env={**os.environ, "LD_PRELOAD": str(shim)},
            stdout=log,
            stderr=log,
        )
        try:
            _wait(port, process)
            yield Archive(port)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/system", timeout=2).close()
            return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise AssertionError("Orthanc did not start; see orthanc.log in the test's folder")


@contextlib.contextmanager
def ohif(archive: Archive) -> Iterator[str]:
    """Serve the viewer and, under the same origin, the archive's DICOMweb; gives the address."""
    home = os.environ.get("ICHOR_OHIF", "")
    if not (Path(home) / "index.html").is_file():
        pytest.skip("needs ICHOR_OHIF, the folder dist of npm's @ohif/app")
    root = Path(home).resolve()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.startswith("/dicom-web"):
                self._forward()
                return
            if self.path.split("?")[0] == "/app-config.js":
                self._answer("text/javascript", f"window.config = {json.dumps(_VIEWER_CONFIG)};".encode())
                return
            path = (root / self.path.split("?")[0].lstrip("/")).resolve()
            if not path.is_relative_to(root) or not path.is_file():
                path = root / "index.html"
            kind = "application/wasm" if path.suffix == ".wasm" else mimetypes.guess_type(path.name)[0]
            self._answer(kind or "application/octet-stream", path.read_bytes())

        def _answer(self, kind: str, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(content)

        def _forward(self) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", archive.port, timeout=120)
            connection.request("GET", self.path, headers={"Accept": self.headers.get("Accept", "*/*")})
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.getheader("Content-Type", "application/octet-stream"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def open_series(page: Any, address: str, study_uid: str, name: str) -> None:
    """Open a study in the viewer, and one of its series, as a person does.

    Parameters
    ----------
    page
        Of a browser.
    address
        As :func:`ohif` gives it.
    study_uid
        Of the study.
    name
        With which the series' description begins.
    """
    page.goto(f"{address}/viewer?StudyInstanceUIDs={study_uid}")
    thumbnail = '[data-cy^="study-browser-thumbnail"]'
    page.wait_for_selector(thumbnail, timeout=120_000)
    page.wait_for_selector("canvas", timeout=120_000)
    page.wait_for_timeout(4000)
    tour = page.query_selector("text=Skip all")
    if tour:
        tour.click()
    wanted = page.wait_for_selector(f'{thumbnail}:has-text("{name}")', timeout=60_000)
    wanted.scroll_into_view_if_needed()
    wanted.dblclick()
