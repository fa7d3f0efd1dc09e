"""What comes in: honest senders are served, whatever hostile ones do meanwhile."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import stat
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest

pytest.importorskip("pynetdicom", reason="needs the extra 'node'")
pytest.importorskip("highdicom", reason="needs the extra 'node'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

from ichor.node.audit import Audit
from ichor.node.config import Bounds
from ichor.node.destinations import DicomDestination, Hl7Destination, Tls
from ichor.node.senders.dicom import DicomSender
from ichor.node.senders.mllp import send_message, try_mllp
from ichor.node.senders.package import NotDelivered
from ichor.node.spool import Spool
from ichor.node.transport import server_context
from ichor.node.watching import Watch
from ichor.reading.limits import Limits
from node.peers import CANARY, LEFT_BY_PYNETDICOM, ReceiverProcess, established, peer, save, send, study
from node.servers import MllpServer
from serving.served import until

pytestmark = [
    *LEFT_BY_PYNETDICOM,
    pytest.mark.filterwarnings("ignore:Invalid value for VR UI"),
    pytest.mark.filterwarnings("ignore:The value length"),
]


def memory_mib(pid: int, what: str = "VmHWM") -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise AssertionError


def test_what_was_answered_with_success_lies_in_the_spool_under_hashes_for_its_owner_alone(
    receiver: Callable[..., ReceiverProcess],
) -> None:
    one = receiver()
    datasets = study(1)
    assert send(one.port, datasets) == [0] * len(datasets)
    files = one.files()
    assert len(files) == len(datasets)
    for path in one.root.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert not any("1.2.826" in str(path) for path in files)
    assert len(one.audit("received")) == len(datasets)
    # The same again is the same.
    assert send(one.port, datasets) == [0] * len(datasets)
    assert one.files() == files
    assert list((one.root / "receiving").iterdir()) == []


def test_whoever_is_not_on_the_list_is_refused_and_audited(receiver: Callable[..., ReceiverProcess]) -> None:
    one = receiver(peers=[peer("SENDER"), {"ae_title": "FAR", "addresses": ["10.9.9.0/24"]}])
    assert established(one.port)
    assert not established(one.port, title="STRANGER")
    assert not established(one.port, called="SOMEBODY")
    assert not established(one.port, title="FAR")
    reasons = [e["reason"] for e in one.audit("refused")]
    assert reasons == ["calling_ae_title", "called_ae_title", "calling_ae_title"]
    assert established(one.port)


def test_an_address_that_is_no_peers_is_cut_before_a_byte_is_read(
    receiver: Callable[..., ReceiverProcess],
) -> None:
    one = receiver(peers=[{"ae_title": "FAR", "addresses": ["10.9.9.9"]}])
    with socket.create_connection(("127.0.0.1", one.port), 60) as stranger:
        stranger.settimeout(60)
        assert stranger.recv(1) == b""
    until(lambda: [e["reason"] for e in one.audit("refused")] == ["address"], "the audit")


def test_a_length_of_four_gigabytes_takes_no_memory_and_no_time_of_others(
    receiver: Callable[..., ReceiverProcess],
) -> None:
    one = receiver()
    pid = one.pid
    assert established(one.port)
    before = memory_mib(pid)
    hostile = [socket.create_connection(("127.0.0.1", one.port), 60) for _ in range(5)]
    for connection in hostile:
        connection.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + b"x" * 1000)
    assert established(one.port)
    for connection in hostile:
        connection.settimeout(60)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(100):
                pass
        connection.close()
    assert memory_mib(pid) - before < 20
    assert {e["bound"] for e in one.audit("bound_exceeded")} == {"pdu_bytes"}


def test_silent_and_stalled_peers_are_cut_while_an_honest_one_is_served(
    receiver: Callable[..., ReceiverProcess],
) -> None:
    one = receiver(bounds={"association_seconds": 3.0, "idle_seconds": 3.0, "object_seconds": 20.0})
    silent = socket.create_connection(("127.0.0.1", one.port), 60)
    stalled = socket.create_connection(("127.0.0.1", one.port), 60)
    stalled.sendall(struct.pack(">BBL", 1, 0, 200) + b"\0" * 50)
    assert send(one.port, study(1)) == [0] * 6
    for connection in (silent, stalled):
        connection.settimeout(60)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(100):
                pass
        connection.close()


def test_connections_are_bounded_in_number_and_rate(receiver: Callable[..., ReceiverProcess]) -> None:
    one = receiver(bounds={"associations": 3, "connections_per_minute": 12})
    held = [socket.create_connection(("127.0.0.1", one.port), 60) for _ in range(3)]
    assert not established(one.port)
    for connection in held:
        connection.close()
    until(lambda: established(one.port), "room")

    def reasons() -> set[str]:
        established(one.port)
        return {e["reason"] for e in one.audit("refused")}

    until(lambda: {"associations", "rate"} <= reasons(), "both bounds")


@pytest.mark.parametrize("uid", ["../../../../tmp/x", "1.2.3/../../4", "A" * 64, "1.2.\\3", "1" * 65, ""])
def test_hostile_uids_are_no_paths_and_are_not_taken(
    receiver: Callable[..., ReceiverProcess], uid: str
) -> None:
    one = receiver()
    datasets = study(1)[:2]
    before = {p for p in one.root.parent.rglob("*") if one.root not in p.parents}
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        datasets[0].StudyInstanceUID = uid
        statuses = send(one.port, datasets)
    finally:
        pydicom.config.settings.writing_validation_mode = pydicom.config.RAISE
    assert statuses == [0xC001, 0]
    assert len(one.files()) == 1
    assert {p for p in one.root.parent.rglob("*") if one.root not in p.parents} == before
    assert [e["reason"] for e in one.audit("not_taken")] == ["bad_uid"]


def test_every_transfer_syntax_that_is_read_is_taken_but_not_deflated(
    receiver: Callable[..., ReceiverProcess], shared_data: Path
) -> None:
    one = receiver()
    taken: set[str] = set()
    for folder in ("transfer_syntaxes_chest", "wg04_ct"):
        for path in sorted((shared_data / "dicom-oddities" / folder).iterdir()):
            data = pydicom.dcmread(path)
            syntax = data.file_meta.TransferSyntaxUID
            if data.Modality != "CT":
                continue
            if syntax == pydicom.uid.DeflatedExplicitVRLittleEndian:
                with pytest.raises(AssertionError):  # no context, so no association
                    send(one.port, [data])
                continue
            assert send(one.port, [data]) == [0], path.name
            taken.add(syntax)
    assert len(taken) == 14, taken
    # As it was sent: nothing is decoded on the way.
    kept = {str(pydicom.dcmread(p, stop_before_pixels=True).file_meta.TransferSyntaxUID) for p in one.files()}
    assert kept <= taken and len(kept) > 3


def test_a_full_disk_is_said_and_nothing_is_kept_half(receiver: Callable[..., ReceiverProcess]) -> None:
    one = receiver(bounds={"free_bytes": 1 << 60})
    assert set(send(one.port, study(1))) == {0xA700}
    assert one.files() == []
    assert list((one.root / "receiving").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The spool's place, on a disk of four MiB."""
    place = tmp_path / "spool"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("needs the right to mount a disk in memory (root)")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_is_really_full_loses_nothing_that_was_answered_with_success(
    small_disk: Path, receiver: Callable[..., ReceiverProcess]
) -> None:
    one = receiver(bounds={"free_bytes": 0})
    datasets = study(1, step=2)
    for data in datasets:
        data.decompress()  # half a MiB each
    statuses = send(one.port, datasets)
    taken = statuses.count(0)
    assert 0 < taken < len(datasets) and set(statuses) == {0, 0xA700}  # every sender hears it
    kept = {pydicom.dcmread(p).SOPInstanceUID for p in one.files()}
    assert kept >= {d.SOPInstanceUID for d, status in zip(datasets, statuses, strict=True) if status == 0}
    assert all(len(pydicom.dcmread(p).PixelData) == len(datasets[0].PixelData) for p in one.files())
    assert list((one.root / "receiving").iterdir()) == []
    # There is room again: the same sender is served.
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert set(send(one.port, datasets)) == {0}
    assert len(one.files()) == len(datasets)


def test_eight_senders_at_once_take_little_memory(receiver: Callable[..., ReceiverProcess]) -> None:
    import threading

    one = receiver()
    results: list[list[int]] = []

    def push(first: int) -> None:
        for number in range(first, first + 5):
            results.append(send(one.port, study(number)))

    threads = [threading.Thread(target=push, args=(100 * k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[0] * 6] * 40
    assert len(one.files()) == 240
    peak = memory_mib(one.pid)
    print(f"peak of the receiver: {peak:.0f} MiB")
    assert peak < 150


def test_a_receiver_that_dies_comes_back_on_the_same_port(receiver: Callable[..., ReceiverProcess]) -> None:
    one = receiver()
    assert send(one.port, study(1)[:3]) == [0] * 3
    os.kill(one.pid, signal.SIGKILL)
    until(lambda: established(one.port), "the next receiver")
    assert send(one.port, study(1)[3:]) == [0] * 3
    assert len(one.files()) == 6


def certificates(folder: Path) -> dict[str, Path]:
    """An authority, a server's and a client's certificate by it, and one of a stranger."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, for certificates")
    run = lambda *a: subprocess.run(["openssl", *map(str, a)], check=True, capture_output=True)  # noqa: E731
    for name in ("authority", "other"):
        run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")  # fmt: skip
    for name, signer in (("server", "authority"), ("client", "authority"), ("stranger", "other")):
        run("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
            "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr")  # fmt: skip
        run("x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / f"{signer}.pem", "-CAkey",
            folder / f"{signer}.key", "-CAcreateserial", "-days", "2", "-out", folder / f"{name}.pem")  # fmt: skip
    return {p.stem + p.suffix: p for p in folder.iterdir()}


def test_mutual_tls(receiver: Callable[..., ReceiverProcess], tmp_path: Path) -> None:
    made = tmp_path / "pki"
    made.mkdir()
    files = certificates(made)
    tls = {
        "certificate": files["server.pem"],
        "key": files["server.key"],
        "authority": files["authority.pem"],
    }
    one = receiver(listen={"tls": {k: str(v) for k, v in tls.items()}}, bounds={"association_seconds": 2.0})

    def context(name: str | None) -> ssl.SSLContext:
        out = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        out.check_hostname = False
        out.load_verify_locations(files["authority.pem"])
        if name:
            out.load_cert_chain(files[f"{name}.pem"], files[f"{name}.key"])
        return out

    silent = socket.create_connection(("127.0.0.1", one.port), 60)  # never shakes hands
    assert established(one.port, tls=context("client"))
    assert not established(one.port, tls=context(None))
    assert not established(one.port, tls=context("stranger"))
    ours = {
        "certificate": files["client.pem"],
        "key": files["client.key"],
        "authority": files["authority.pem"],
    }
    place = {"name": "tls", "type": "dicom", "host": "127.0.0.1", "port": one.port, "ae_title": "ICHOR"}
    DicomSender(DicomDestination.model_validate({**place, "tls": ours}), "SENDER").echo()
    foreign = {**ours, "authority": files["other.pem"]}
    with pytest.raises(NotDelivered):
        DicomSender(DicomDestination.model_validate({**place, "tls": foreign}), "SENDER").echo()
    assert not established(one.port)
    assert established(one.port, tls=context("client"))
    silent.close()
    # An interface engine, likewise.
    engine = MllpServer(tls=server_context(Tls.model_validate(tls)))
    place = {"name": "engine", "type": "hl7", "host": "127.0.0.1", "port": engine.port}
    known = Hl7Destination.model_validate({**place, "tls": ours})
    try_mllp(known)
    send_message(known, "MSH|^~\\&|ICHOR|||||||1|P\r", "1")
    stranger = {**ours, "certificate": files["stranger.pem"], "key": files["stranger.key"]}
    for wrong in (foreign, stranger):
        with pytest.raises(NotDelivered, match="no_tls"):
            try_mllp(Hl7Destination.model_validate({**place, "tls": wrong}))
    engine.stop()


def test_a_watched_folder(receiver: Callable[..., ReceiverProcess], tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    one = receiver(listen={"watch": str(folder)})
    paths = save(study(1), folder / "in")
    poison = folder / "poison.dcm"
    poison.write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 500)
    (folder / "link.dcm").symlink_to("/etc/passwd")
    (folder / f"{CANARY}.txt").write_text(CANARY)
    until(lambda: len(one.files()) == len(paths), "the files")
    until(lambda: not any(p.exists() for p in paths), "the files to go")
    assert poison.exists() and (folder / "link.dcm").is_symlink()
    until(lambda: len(one.audit("not_taken")) == 2, "the audit of what stays")
    assert CANARY not in (one.root / "audit.jsonl").read_text()


def test_a_watched_folder_waits_until_there_is_room(
    receiver: Callable[..., ReceiverProcess], tmp_path: Path
) -> None:
    folder = tmp_path / "drop"
    one = receiver(listen={"watch": str(folder)}, bounds={"free_bytes": 1 << 60})
    paths = save(study(1), folder)
    until(lambda: bool(one.audit("not_taken")), "the audit")
    watch = Watch(
        folder, Spool(one.root, Limits()), Bounds(free_bytes=0), Audit(tmp_path / "a"), lambda **_: None
    )
    assert [e["reason"] for e in one.audit("not_taken")] == ["full"]  # said once, whatever is in it
    assert all(p.exists() for p in paths) and one.files() == []
    assert watch.look(time.time() + 60) == len(paths) == len(one.files())
