"""What a node talks with: senders, archives, and small studies to send; each a real one, on loopback."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pynetdicom.sop_class as sop
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, StoragePresentationContexts, build_role, evt

from ichor.cli.demo import demo_exam
from ichor.node.config import parse_config
from ichor.node.receiving import Receiving
from ichor.node.spool import Spool
from ichor.node.transport import steady
from ichor.reading.limits import Limits
from serving.served import until

CANARY = "ZZCANARY"
"""Stands in every attribute of made studies that identifies somebody; it must be found nowhere but in results."""
TITLE = "SENDER"
LEFT_BY_PYNETDICOM = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]
"""Its threads and sockets in the test's own process, when a node cuts or refuses them."""


class NodeProcess:
    """``ichor node`` in processes of its own, with free ports."""

    def __init__(self, state: Path, config: dict[str, Any]) -> None:
        self.state = state
        self.config = {"completion": {"quiet_seconds": 1.0}, **config}
        self.config.setdefault("peers", [peer(TITLE)])
        self.config.setdefault("listen", {}).setdefault("port", 0)
        self.config.setdefault("page", {})["port"] = 0
        self.config["state"] = str(state)
        self.process: subprocess.Popen[str] | None = None
        self.url, self.port, self.closed = "", 0, False
        self.log: list[str] = []

    def start(self) -> NodeProcess:
        self.state.parent.mkdir(parents=True, exist_ok=True)
        path = self.state.parent / f"{self.state.name}.toml"
        path.write_text(toml(self.config))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ichor.cli", "node", "--config", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.closed = False
        self._reader = threading.Thread(target=self._collect, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ichor: http"), self.log
        self.url = line.removeprefix("ichor: ").strip().rstrip("/")
        until(lambda: self._listening() is not None, "the receiver")
        listening = self._listening()
        assert listening is not None
        self.port = listening
        # Peers know a port: at the next start it is the same.
        self.config["listen"]["port"] = self.port
        return self

    def _collect(self, stream: Any) -> None:
        for line in stream:
            self.log.append(line.rstrip("\n"))

    def _listening(self) -> int | None:
        ports = [e["port"] for e in self.events() if e["event"] == "receiver_ready"]
        return int(ports[-1]) if ports else None

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in list(self.log) if line.startswith("{")]
        return [e for e in found if name in (None, e["event"])]

    def audit(self, name: str | None = None) -> list[dict[str, Any]]:
        path = self.state / "node" / "audit.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [e for e in map(json.loads, lines) if name in (None, e["event"])]

    def child(self, module: str) -> int:
        """Process id of the worker or the receiver."""
        assert self.process is not None
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for pid in (task / "children").read_text().split():
                if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
        raise AssertionError(f"no {module}")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Halt the node while its receiver takes a study: however slowly it comes, none of it is quiet too early."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def send(self, datasets: list[Dataset], **how: Any) -> None:
        """Push a study, whole."""
        with self.held():
            assert set(send(self.port, datasets, **how)) == {0}

    def kill(self) -> None:
        """``kill -9`` of the node; its children end by themselves."""
        assert self.process is not None
        self.process.kill()
        self._close()

    def kill_child(self, module: str) -> None:
        os.kill(self.child(module), signal.SIGKILL)

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self._close()

    def _close(self) -> int:
        assert self.process is not None
        code = self.process.wait(60)
        self.closed = True
        self._reader.join(20)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code


class ReceiverProcess:
    """The receiver alone, as the node starts it."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        config = {"peers": [peer(TITLE)], "completion": {"quiet_seconds": 3600}, **config}
        config.setdefault("listen", {})["port"] = 0
        self.root = folder
        self.counted: list[tuple[str, str]] = []
        parsed = parse_config(config, "the test")
        self.receiving = Receiving(parsed, folder, lambda what, why: self.counted.append((what, why)))
        Spool(folder, Limits())
        self.receiving.start()
        self.port = self.receiving.port

    @property
    def pid(self) -> int:
        pid = self.receiving.child.pid
        assert pid is not None
        return pid

    def files(self) -> list[Path]:
        return sorted((self.root / "incoming").rglob("*.dcm"))

    def audit(self, name: str) -> list[dict[str, Any]]:
        path = self.root / "audit.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [e for e in map(json.loads, lines) if e["event"] == name]


def peer(title: str, *, worklist: bool = True) -> dict[str, Any]:
    return {"ae_title": title, "addresses": ["127.0.0.1"], "worklist": worklist}


def toml(config: dict[str, Any]) -> str:
    """Write a configuration: tables, and lists of tables, of plain values."""
    plain = [f"{k} = {json.dumps(v)}" for k, v in config.items() if not _is_table(v)]
    lines = ["\n".join(plain)]
    for name, value in config.items():
        if isinstance(value, dict):
            lines.append(f"[{name}]\n" + _values(value))
        elif _is_table(value):
            lines += [f"[[{name}]]\n" + _values(v) for v in value]
    return "\n\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _values(table: dict[str, Any]) -> str:
    return "\n".join(f"{k} = {_inline(v)}" for k, v in table.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_inline(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


# -- studies -------------------------------------------------------------------------------------------


@functools.cache
def _slices() -> list[bytes]:
    with zipfile.ZipFile(demo_exam()) as archive:
        return [archive.read(name) for name in sorted(archive.namelist())]


def study(number: int, *, step: int = 5, bleed: bool = True, name: str = f"{CANARY}^Ann") -> list[Dataset]:
    """A small study; each number another one."""
    out = []
    for k, content in enumerate(_slices()[::step]):
        data = pydicom.dcmread(io.BytesIO(content))
        if not bleed:
            data.decompress()
            pixels = data.pixel_array.copy()
            hu = pixels * float(data.RescaleSlope) + float(data.RescaleIntercept)
            pixels[(hu > 48) & (hu < 110)] = (33 - float(data.RescaleIntercept)) / float(data.RescaleSlope)
            data.PixelData = pixels.tobytes()
        root = f"1.2.826.0.1.3680043.8.498.77.{number}"
        data.StudyInstanceUID, data.SeriesInstanceUID = f"{root}.1", f"{root}.2"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{root}.3.{k + 1}"
        data.FrameOfReferenceUID = f"{root}.4"
        data.SpecificCharacterSet = "ISO_IR 192"
        data.PatientName, data.PatientID, data.AccessionNumber = (
            name,
            f"{CANARY}ID{number}",
            f"{CANARY[:6]}{number}",
        )
        data.PatientBirthDate, data.StudyDate, data.PatientSex = "19500102", "20260102", "F"
        data.StudyDescription, data.SeriesDescription = "Head", "Axial"
        data.StationName, data.InstitutionName = "CT1", f"{CANARY} Hospital"
        data.ReferringPhysicianName = f"{CANARY}^Doctor"
        data.InstanceNumber = k + 1
        out.append(data)
    return out


def save(datasets: list[Dataset], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, data in enumerate(datasets):
        path = folder / f"{k:03d}.dcm"
        data.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def noise(datasets: list[Dataset], seed: int) -> list[Dataset]:
    """Make the pixels of a study its own, so that nothing takes it for another."""
    random = np.random.default_rng(seed)
    for data in datasets:
        if data.file_meta.TransferSyntaxUID.is_compressed:
            data.decompress()
        pixels = data.pixel_array.copy()
        pixels[:4, :64] = random.integers(0, 50, (4, 64))
        data.PixelData = pixels.tobytes()
    return datasets


# -- senders -------------------------------------------------------------------------------------------


def send(
    port: int, datasets: list[Dataset], *, title: str = TITLE, called: str = "ICHOR", tls: Any = None
) -> list[int]:
    """Push a study; returns the status of each."""
    entity = AE(title)
    entity.dimse_timeout = 120
    for sop_class, syntax in sorted({(d.SOPClassUID, d.file_meta.TransferSyntaxUID) for d in datasets}):
        entity.add_requested_context(sop_class, syntax)
    options = {"tls_args": (tls, "localhost")} if tls else {}
    association = steady(entity.associate("127.0.0.1", port, ae_title=called, **options))
    assert association.is_established
    try:
        answers = [association.send_c_store(data) for data in datasets]
        assert all("Status" in answer for answer in answers), "no answer"
        return [int(answer.Status) for answer in answers]
    finally:
        if association.is_established:
            association.release()


def established(port: int, *, title: str = TITLE, called: str = "ICHOR", tls: Any = None) -> bool:
    entity = AE(title)
    entity.add_requested_context(sop.Verification)
    entity.acse_timeout = entity.network_timeout = 10
    options = {"tls_args": (tls, "localhost")} if tls else {}
    association = steady(entity.associate("127.0.0.1", port, ae_title=called, **options))
    if not association.is_established:
        return False
    good = association.send_c_echo().Status == 0
    association.release()
    return bool(good)


def find(port: int, *, title: str = TITLE, **keys: str) -> list[Dataset]:
    """Ask for the worklist."""
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    for keyword in ("StudyInstanceUID", "PatientName", "PatientID", "StudyComments", "StudyDate"):
        setattr(asked, keyword, keys.get(keyword, ""))
    entity = AE(title)
    entity.add_requested_context(sop.StudyRootQueryRetrieveInformationModelFind)
    association = steady(entity.associate("127.0.0.1", port, ae_title="ICHOR"))
    assert association.is_established
    try:
        answers = list(association.send_c_find(asked, sop.StudyRootQueryRetrieveInformationModelFind))
    finally:
        association.release()
    assert answers[-1][0].Status in (0, 0x0124), answers[-1]
    return [data for status, data in answers if status.Status == 0xFF00 and data is not None]


def begin_step(port: int, uid: str, data: Dataset) -> int:
    """Tell by MPPS N-CREATE that a study is being made, as a scanner does; returns the status."""
    values, scheduled = Dataset(), Dataset()
    scheduled.StudyInstanceUID, scheduled.AccessionNumber = data.StudyInstanceUID, data.AccessionNumber
    values.ScheduledStepAttributesSequence = [scheduled]
    values.PatientName, values.PatientID = data.PatientName, data.PatientID
    values.PerformedProcedureStepID, values.PerformedProcedureStepStatus = "1", "IN PROGRESS"
    return _step(port, "send_n_create", values, uid)


def end_step(port: int, uid: str, made: list[Dataset], *, state: str = "COMPLETED") -> int:
    """Tell by MPPS N-SET which images a study has; returns the status."""
    values, series = Dataset(), Dataset()
    values.PerformedProcedureStepStatus = state
    series.SeriesInstanceUID = made[0].SeriesInstanceUID
    series.ReferencedImageSequence = []
    for data in made:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
        series.ReferencedImageSequence.append(item)
    values.PerformedSeriesSequence = [series]
    return _step(port, "send_n_set", values, uid)


def _step(port: int, how: str, values: Dataset, uid: str) -> int:
    entity = AE(TITLE)
    entity.add_requested_context(sop.ModalityPerformedProcedureStep)
    association = steady(entity.associate("127.0.0.1", port, ae_title="ICHOR"))
    assert association.is_established
    try:
        status, _ = getattr(association, how)(values, sop.ModalityPerformedProcedureStep, uid)
        return int(status.Status)
    finally:
        association.release()


class Archive:
    """A store with storage commitment, that notes all it gets.

    Parameters
    ----------
    commitment
        ``later`` answers on an association of its own, as archives do; ``at_once`` on the same one; ``lying`` names
        another object; ``failing`` says that it keeps none; ``silent`` never answers.
    node_port
        Where ``later`` answers to.
    """

    def __init__(
        self, *, title: str = "PACS", commitment: str = "later", status: int = 0, port: int = 0
    ) -> None:
        self.title, self.commitment, self.status = title, commitment, status
        self.node_port = 0
        self.received: list[Dataset] = []
        self.committed: list[str] = []
        entity = AE(title)
        entity.supported_contexts = StoragePresentationContexts
        entity.add_supported_context(sop.CTImageStorage, ALL_TRANSFER_SYNTAXES)
        entity.add_supported_context(
            sop.SegmentationStorage, [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        )
        entity.add_supported_context(sop.Verification)
        entity.add_supported_context(sop.StorageCommitmentPushModel)
        self.entity, self.port = entity, port
        self.server: Any = None
        self.start()

    def destination(self, **more: Any) -> dict[str, Any]:
        return {
            **{
                "name": "pacs",
                "type": "dicom",
                "host": "127.0.0.1",
                "port": self.port,
                "ae_title": self.title,
            },
            **more,
        }

    def instances(self) -> dict[str, int]:
        """How often each object came."""
        out: dict[str, int] = {}
        for data in list(self.received):
            out[data.SOPInstanceUID] = out.get(data.SOPInstanceUID, 0) + 1
        return out

    def kinds(self) -> list[str]:
        return sorted({data.Modality for data in list(self.received)})

    def start(self) -> None:
        """Listen; after :meth:`stop`, on the same port again."""
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._asked)]
        self.server = self.entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        self.port = self.server.server_address[1]

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
        self.server = None

    def _store(self, event: Any) -> int:
        if self.status:
            return self.status
        data = event.dataset
        data.file_meta = event.file_meta
        self.received.append(data)
        return 0

    def _asked(self, event: Any) -> tuple[int, None]:
        asked = event.action_information
        answer = Dataset()
        answer.TransactionUID = asked.TransactionUID
        answer.ReferencedSOPSequence = asked.ReferencedSOPSequence
        if self.commitment == "lying":
            for item in answer.ReferencedSOPSequence:
                item.ReferencedSOPInstanceUID = "1.2.3"
        if self.commitment == "failing":
            answer.FailedSOPSequence = asked.ReferencedSOPSequence
            for item in answer.FailedSOPSequence:
                item.FailureReason = 0x0112
            del answer.ReferencedSOPSequence
        if self.commitment != "silent":
            later = threading.Thread(target=self._answer, args=(event.assoc, answer), daemon=True)
            later.start()
        return 0, None

    def _answer(self, association: Any, answer: Dataset) -> None:
        self.committed.append(str(answer.TransactionUID))
        kind = 2 if "FailedSOPSequence" in answer else 1
        place = (sop.StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
        if self.commitment == "at_once":
            time.sleep(0.1)
            association.send_n_event_report(answer, kind, *place)
            return
        entity = AE(self.title)
        entity.add_requested_context(sop.StorageCommitmentPushModel)
        role = build_role(sop.StorageCommitmentPushModel, scp_role=True)
        own = steady(entity.associate("127.0.0.1", self.node_port, ae_title="ICHOR", ext_neg=[role]))
        if own.is_established:
            own.send_n_event_report(answer, kind, *place)
            own.release()
