"""With archives of others: Orthanc, and dcmtk's storescu, storescp, echoscu and findscu."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom", reason="needs the extra 'node'")
pytest.importorskip("highdicom", reason="needs the extra 'node'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import pydicom

from ichor.cli import run
from ichor.node.completion import Completion
from ichor.node.config import Bounds, OrthancSource, parse_config
from ichor.node.destinations import StowDestination
from ichor.node.senders.stow import send_stow
from ichor.node.sources import Changes
from ichor.node.spool import NotTaken, Origin, Spool, hashed
from ichor.reading.limits import Limits
from node.orthanc import Orthanc, free_port
from node.peers import LEFT_BY_PYNETDICOM, NodeProcess, peer, save, study, toml
from node.test_node import deliveries, settled
from serving.served import until

pytestmark = LEFT_BY_PYNETDICOM
KINDS = {"CT", "SEG", "SR", "OT", "KO"}


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    one = Orthanc(tmp_path_factory.mktemp("archive") / "orthanc")
    yield one
    one.stop()


def test_stable_studies_of_an_archive_are_fetched_and_none_is_lost(orthanc: Orthanc, tmp_path: Path) -> None:
    counted: list[tuple[str, str]] = []
    spool = Spool(tmp_path / "node", Limits())
    source = OrthancSource(name="archive", url=f"http://127.0.0.1:{orthanc.http}")

    def changes(**bounds: int) -> Changes:
        """The source of a node that has just started."""
        given = Bounds(free_bytes=0, **bounds)
        return Changes(source, spool, given, lambda what, why: counted.append((what, why)))

    def stable() -> set[str]:
        found = orthanc.web.get("/changes?limit=1000").json()["Changes"]
        return {change["ID"] for change in found if change["ChangeType"] == "StableStudy"}

    old = orthanc.put(save(study(9), tmp_path / "old"))
    until(lambda: old in stable(), "the study to be stable")
    assert changes().poll() == 0  # what was there before the first start is left alone
    datasets = study(3)
    for data in datasets:
        data.decompress()
    orthanc.put(save(datasets, tmp_path / "in"))
    small = changes(spool_bytes=1 << 20)

    def is_full() -> bool:
        try:
            small.poll()
        except NotTaken:
            return True
        return False

    until(is_full, "the study to be stable, and the spool to be full")
    name = hashed(datasets[0].StudyInstanceUID)
    assert 0 < len(spool.instances(name)) < 6
    # There is room again, and the node was started anew: what is left comes, and the study is whole.
    assert changes().poll() == 1 and spool.studies() == [name] and len(spool.instances(name)) == 6
    completion = Completion(parse_config({"completion": {"quiet_seconds": 3600}}, "the test"), spool)
    assert completion.due(time.time()) == {name: "source"}
    assert changes().poll() == 0 and counted.count(("received", "orthanc")) == 6
    # Another archive in its place, whose list is shorter than the number that was noted: all of it is new.
    (spool.root / "source-archive.json").write_text('{"last": 1000000}')
    assert changes().poll() == 2 and counted.count(("received", "orthanc")) == 12


def test_a_study_of_orthanc_comes_back_and_is_committed(
    node: Callable[..., NodeProcess], orthanc: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    destination = {"name": "pacs", "type": "dicom", **orthanc.place()}
    url = f"http://127.0.0.1:{orthanc.http}"
    web = [{"name": "web", "type": "stow", "url": f"{url}/dicom-web", "kinds": ["sc", "ko"]}]
    config = {
        "peers": [peer("ORTHANC")],
        # Nobody waits so long: the archive says that the study is whole, by its answer to C-FIND or its list of changes.
        "completion": {"quiet_seconds": 3600, "archive": {**orthanc.place(), "every_seconds": 0.5}},
        "sources": [{"name": "archive", "url": url, "every_seconds": 0.5}],
        "destinations": [{**destination, "commitment": True}],
    }
    if orthanc.has_dicom_web:  # half of the kinds each way
        config["destinations"] = [{**destination, "commitment": True, "kinds": ["seg", "sr"]}, *web]
    n = len(config["destinations"])
    one = node(config)
    orthanc.route_to(one.port)
    until(lambda: bool(one.events("worker_ready")), "the worker")
    there = orthanc.put(save(study(1, step=1), tmp_path / "in"))
    orthanc.send(there)
    began = time.monotonic()
    until(lambda: set(orthanc.series(there)) == KINDS, "the results in the archive")
    with capsys.disabled():
        print(f"\n30 slices: {time.monotonic() - began:.1f} s from the last one to the results")
    until(lambda: settled(one, n), "the commitment")
    assert {state for _, state, _ in deliveries(one)} == {"delivered"}
    until(lambda: any("committed" in e for e in one.audit("delivered")), "the audit, which follows")
    expected = len(KINDS) - 1 - (n - 1) * 2
    assert [e["committed"] for e in one.audit("delivered") if "committed" in e] == [expected]
    # The study is stable again with its results, and is fetched from the list of changes: nothing new.
    until(lambda: len(one.audit("dropped")) >= 4, "the results to be dropped")
    assert any(e.get("way") == "orthanc" for e in one.audit("received"))
    assert {m: len(s) for m, s in orthanc.series(there).items()} == dict.fromkeys(KINDS, 1)
    assert len(deliveries(one)) == n
    # The check, with a destination that is there and one that is not.
    config["destinations"].append({**destination, "name": "gone", "port": 1, "timeout_seconds": 2})
    (tmp_path / "check.toml").write_text(toml(config))
    assert run(["node", "check", "--config", str(tmp_path / "check.toml")]) == 3
    table = capsys.readouterr().out
    assert "nothing answers there" in table and table.count(" ok ") == 4 + n - 1


def test_an_archive_says_how_many_instances_a_study_has(orthanc: Orthanc, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "node", Limits())
    asked = {"quiet_seconds": 3600, "archive": orthanc.place()}
    completion = Completion(parse_config({"completion": asked}, "the test"), spool)
    files = save(study(2), tmp_path / "in")
    orthanc.put(files)
    for path in files[:5]:
        spool.take(path, Origin("dicom"))
    counts = completion.counts
    assert counts is not None
    counts.ask()
    counts.ask()
    assert completion.due(time.time()) == {}
    taken = spool.take(files[5], Origin("dicom"))
    assert completion.due(time.time()) == {taken.study: "archive"}


def test_stow_stores_in_an_archive_of_others(orthanc: Orthanc, tmp_path: Path) -> None:
    if not orthanc.has_dicom_web:
        pytest.skip("needs orthanc-dicomweb (apt-get install orthanc-dicomweb)")
    files = save(study(4), tmp_path / "in")
    web = StowDestination(name="web", type="stow", url=f"http://127.0.0.1:{orthanc.http}/dicom-web/")
    for _ in range(2):  # at least once is once there
        send_stow(web, files)
    uid = study(4)[0].StudyInstanceUID
    asked = {"Level": "Instance", "Query": {"StudyInstanceUID": uid}}
    assert len(orthanc.web.post("/tools/find", json=asked).json()) == len(files)


def test_dcmtk_sends_asks_and_gets(node: Callable[..., NodeProcess], tmp_path: Path) -> None:
    storescu, storescp, echoscu, findscu = map(dcmtk, ("storescu", "storescp", "echoscu", "findscu"))
    port, got = free_port(), tmp_path / "got"
    got.mkdir()
    store = subprocess.Popen([storescp, "-aet", "DCMTK", "-od", str(got), "+xa", str(port)])
    try:
        until(lambda: _listens(port), "storescp")
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
        with one.held():
            subprocess.run([storescu, *_proposing(syntaxes), *calls, *files], check=True)
            subprocess.run([storescu, *calls, *save(plain, tmp_path / "plain")], check=True)
        until(lambda: settled(one, 2), "the results")
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
