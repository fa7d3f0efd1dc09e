"""With archives of others: Orthanc, and dcmtk's storescu, storescp, echoscu and findscu."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom", reason="needs the extra 'node'")
pytest.importorskip("highdicom", reason="needs the extra 'node'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import pydicom

from ichor.cli import run
from node.orthanc import Orthanc, free_port
from node.peers import LEFT_BY_PYNETDICOM, NodeProcess, peer, save, study, toml
from node.test_node import deliveries, settled
from serving.served import until

pytestmark = LEFT_BY_PYNETDICOM
KINDS = {"CT", "SEG", "SR", "OT", "KO"}


def test_a_study_of_orthanc_comes_back_and_is_committed(
    node: Callable[..., NodeProcess], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    archive = Orthanc(tmp_path / "orthanc", port)
    try:
        destination = {"name": "pacs", "type": "dicom", "host": "127.0.0.1", "ae_title": "ORTHANC"}
        config = {
            "listen": {"port": port},
            "peers": [peer("ORTHANC")],
            "destinations": [{**destination, "port": archive.dicom, "commitment": True}],
        }
        one = node(config)
        until(lambda: bool(one.events("worker_ready")), "the worker", 60)
        there = archive.put(save(study(1, step=1), tmp_path / "in"))
        archive.send(there)
        began = time.monotonic()
        until(lambda: set(archive.series(there)) == KINDS, "the results in the archive", 120)
        with capsys.disabled():
            print(
                f"\n30 slices: {time.monotonic() - began:.1f} s from the last one to the results, 1 s of it quiet"
            )
        until(lambda: settled(one, 1), "the commitment", 60)
        assert [state for _, state, _ in deliveries(one)] == ["delivered"]
        assert one.audit("delivered")[-1]["committed"] == 4
        # The whole study once more, results and all, as OnStableStudy would send it: nothing new.
        archive.send(there)
        until(lambda: len(one.audit("dropped")) == 4, "the results to be dropped", 30)
        time.sleep(2)
        assert {m: len(s) for m, s in archive.series(there).items()} == dict.fromkeys(KINDS, 1)
        assert len(deliveries(one)) == 1
        # The check, with a destination that is there and one that is not.
        config["destinations"].append({**destination, "name": "gone", "port": 1, "timeout_seconds": 2})
        (tmp_path / "check.toml").write_text(toml(config))
        assert run(["node", "check", "--config", str(tmp_path / "check.toml")]) == 3
        table = capsys.readouterr().out
        assert "nothing answers there" in table and table.count(" ok ") == 2
    finally:
        archive.stop()


def test_dcmtk_sends_asks_and_gets(node: Callable[..., NodeProcess], tmp_path: Path) -> None:
    storescu, storescp, echoscu, findscu = map(dcmtk, ("storescu", "storescp", "echoscu", "findscu"))
    port, got = free_port(), tmp_path / "got"
    got.mkdir()
    store = subprocess.Popen([storescp, "-aet", "DCMTK", "-od", str(got), "+xa", str(port)])
    try:
        until(lambda: _listens(port), "storescp", 20)
        destination = {
            "name": "pacs",
            "type": "dicom",
            "host": "127.0.0.1",
            "port": port,
            "ae_title": "DCMTK",
        }
        one = node({"destinations": [{**destination, "kinds": ["seg", "sr"]}]})
        calls = ["-aet", "SENDER", "-aec", "ICHOR", "127.0.0.1", str(one.port)]
        subprocess.run([echoscu, *calls], check=True)
        refused = subprocess.run([echoscu, "-aet", "NOBODY", *calls[2:]], capture_output=True, text=True)
        assert refused.returncode and "Calling AE Title Not Recognized" in refused.stdout + refused.stderr
        # Lossless JPEG as Debian's storescu proposes it, and what is not compressed.
        files = save(study(1), tmp_path / "in")
        syntaxes = {pydicom.dcmread(p, stop_before_pixels=True).file_meta.TransferSyntaxUID for p in files}
        plain = list(study(2))
        for data in plain:
            data.decompress()
        subprocess.run([storescu, *_proposing(syntaxes), *calls, *files], check=True)
        subprocess.run([storescu, *calls, *save(plain, tmp_path / "plain")], check=True)
        until(lambda: settled(one, 2), "the results", 90)
        found = [pydicom.dcmread(p, stop_before_pixels=True) for p in got.iterdir()]
        assert sorted({d.Modality for d in found}) == ["SEG", "SR"]
        asked = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "-k", "PatientID"]
        answer = subprocess.run([findscu, "-S", *asked, *calls], capture_output=True, text=True, check=True)
        assert (answer.stdout + answer.stderr).count("(Pending)") == 2
    finally:
        store.terminate()
        store.wait(20)


def dcmtk(name: str) -> str:
    """One of its programs; pynetdicom has others of the same names in an environment's own folder."""
    found = shutil.which(name, path="/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if found is None:
        pytest.skip("needs dcmtk (apt-get install dcmtk)")
    return found


def _proposing(syntaxes: set[str]) -> list[str]:
    options = {
        "1.2.840.10008.1.2.4.70": "-xs",
        "1.2.840.10008.1.2.4.90": "-xv",
        "1.2.840.10008.1.2.4.80": "-xt",
        "1.2.840.10008.1.2.5": "-xr",
    }
    return [options[uid] for uid in syntaxes if uid in options]


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False
