"""Debian's Orthanc, as an archive on loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.served import until

# Orthanc listens on every address and has no option for it: bind() is told to take the loopback one.
_LOOPBACK = """
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
int bind(int number, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
    if (address && address->sa_family == AF_INET) {
        struct sockaddr_in changed;
        memcpy(&changed, address, sizeof changed);
        changed.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return real(number, (void *)&changed, sizeof changed);
    }
    return real(number, address, length);
}
"""


_DICOM_WEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Orthanc:
    """One, with its files in a folder.

    Parameters
    ----------
    folder
        Is made.
    """

    def __init__(self, folder: Path) -> None:
        program, compiler = shutil.which("Orthanc"), shutil.which("cc") or shutil.which("gcc")
        if program is None or compiler is None:
            pytest.skip("needs Orthanc (apt-get install orthanc) and a C compiler, to keep it on loopback")
        folder.mkdir()
        source, library = folder / "loopback.c", folder / "loopback.so"
        source.write_text(_LOOPBACK)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self.dicom, self.http = free_port(), free_port()
        config = {
            "Name": "archive",
            "StorageDirectory": str(folder / "files"),
            "IndexDirectory": str(folder / "files"),
            "HttpPort": self.http,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": "ORTHANC",
            "DicomPort": self.dicom,
            "DicomModalities": {"ichor": ["ICHOR", "127.0.0.1", self.dicom]},
            "StableAge": 3,
            "Plugins": [str(_DICOM_WEB)] if _DICOM_WEB.exists() else [],
        }
        (folder / "orthanc.json").write_text(json.dumps(config))
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [program, str(folder / "orthanc.json")],
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, "LD_PRELOAD": str(library)},
        )
        self.web = httpx.Client(base_url=f"http://127.0.0.1:{self.http}", timeout=60)
        until(lambda: self.web.get("/system").status_code == 200, "Orthanc")

    @property
    def has_dicom_web(self) -> bool:
        """Whether it speaks STOW-RS."""
        return _DICOM_WEB.exists()

    def place(self) -> dict[str, Any]:
        """Where it listens, as configurations of the node have it."""
        return {"host": "127.0.0.1", "port": self.dicom, "ae_title": "ORTHANC"}

    def route_to(self, port: int) -> None:
        """Say where the node listens."""
        self.web.put("/modalities/ichor", json=["ICHOR", "127.0.0.1", port]).raise_for_status()

    def put(self, paths: list[Path]) -> str:
        """Store files; returns the study's name there."""
        answers = [
            self.web.post("/instances", content=p.read_bytes()).raise_for_status().json() for p in paths
        ]
        return str(answers[0]["ParentStudy"])

    def send(self, study: str) -> None:
        """Route a study to the node, as a rule of a site does."""
        self.web.post("/modalities/ichor/store", content=study).raise_for_status()

    def series(self, study: str) -> dict[str, list[dict[str, Any]]]:
        """Series of a study by their modality."""
        out: dict[str, list[dict[str, Any]]] = {}
        for one in self.web.get(f"/studies/{study}/series").json():
            out.setdefault(one["MainDicomTags"]["Modality"], []).append(one)
        return out

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.web.close()
        self.log.close()
