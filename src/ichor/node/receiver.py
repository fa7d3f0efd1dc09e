"""The receiver: a process of its own that speaks DICOM with the network, and knows no database and no model.

Started as ``python -m ichor.node.receiver`` with its settings as one line on standard input. Standard input stays
open: when the node ends, however it ends, it closes, and the receiver ends too. What happens is reported on
standard output, a JSON object a line, for the node's counters.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pynetdicom
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom import _config as pynetdicom_config
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from ichor.errors import UsageError
from ichor.node.audit import Audit
from ichor.node.commitment import keep_commitment
from ichor.node.config import NodeConfig, Peer, parse_config
from ichor.node.partial import PartialFile, is_whole
from ichor.node.query import answers
from ichor.node.spool import NotTaken, Origin, Spool, hashed, load_json
from ichor.node.steps import Steps
from ichor.node.syntaxes import IMAGE_CLASSES, OTHER_CLASSES, TRANSFER_SYNTAXES
from ichor.node.transport import Admission, BoundedServer, Stream, end_partial, server_context
from ichor.node.watching import Watch
from ichor.reading.dicom.dataset import quiet_pydicom
from ichor.reading.limits import Limits

__all__ = ["Receiver", "main"]

_SUCCESS = 0x0000
_STATUS = {
    "full": 0xA700,
    "too_many": 0xA700,
    "mismatch": 0xA900,
    "unreadable": 0xC000,
    "bad_uid": 0xC001,
}
"""Answer to a C-STORE that is not taken (PS3.4 B.2.3)."""
_OUT_OF_RESOURCES = 0xA700
_FAILED = 0xC211
_PENDING = 0xFF00
_SWEEP_S = 60.0


class Receiver:
    """Answers C-ECHO, C-STORE, C-FIND, N-EVENT-REPORT, and N-CREATE and N-SET of procedure steps.

    Parameters
    ----------
    config
        Of the node.
    spool
        Where files go.
    """

    def __init__(self, config: NodeConfig, spool: Spool) -> None:
        self.config = config
        self.spool = spool
        self.steps = Steps(spool)
        self.audit = Audit(spool.root / "audit.jsonl")
        self.server: BoundedServer | None = None

    def start(self) -> int:
        """Listen; returns the port.

        Raises
        ------
        UsageError
            Where the address cannot be listened at.
        """
        pynetdicom_config.STORE_RECV_CHUNKED_DATASET = True
        pynetdicom_config.LOG_HANDLER_LEVEL = "none"
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
        # Files that are being received: in the spool, from where they are linked to their place.
        from pynetdicom import dimse_messages

        vars(dimse_messages)["NamedTemporaryFile"] = lambda **_: PartialFile(self.spool.receiving)
        entity = self._entity()
        listen = self.config.listen
        try:
            server: Any = entity.make_server(
                (listen.host, listen.port),
                ae_title=listen.ae_title,
                ssl_context=server_context(listen.tls) if listen.tls else None,
                evt_handlers=self._handlers(),
                server_class=BoundedServer,
            )
        except OSError as error:
            raise UsageError(
                f"listen.port {listen.port}: found that it cannot be listened at "
                f"({error.strerror or type(error).__name__}); expected a free address of this machine; give another"
            ) from None
        server.bounds = self.config.bounds
        server.admission = Admission(self._knows, self.config.bounds, self._refused)
        server.on_exceeded = self._exceeded
        entity._servers.append(server)
        self.server = server
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        return int(server.server_address[1])

    def _entity(self) -> AE:
        bounds = self.config.bounds
        entity = AE(self.config.listen.ae_title)
        entity.maximum_associations = bounds.associations
        entity.maximum_pdu_size = bounds.pdu_bytes
        entity.acse_timeout = entity.connection_timeout = bounds.association_seconds
        entity.network_timeout = bounds.idle_seconds
        entity.dimse_timeout = bounds.object_seconds
        entity.add_supported_context(Verification)
        for uid in IMAGE_CLASSES:
            entity.add_supported_context(uid, TRANSFER_SYNTAXES)
        for uid in OTHER_CLASSES:
            entity.add_supported_context(uid, TRANSFER_SYNTAXES[:3])
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        entity.add_supported_context(ModalityPerformedProcedureStep)
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        return entity

    def _handlers(self) -> list[Any]:
        return [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_DIMSE_RECV, _restart_bounds),
            (evt.EVT_ACCEPTED, _restart_bounds),
            (evt.EVT_CONN_CLOSE, lambda event: end_partial(event.assoc)),
            (evt.EVT_C_ECHO, lambda event: _SUCCESS),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_N_EVENT_REPORT, self._committed),
            (evt.EVT_N_CREATE, self._step_begins),
            (evt.EVT_N_SET, self._step_changes),
        ]

    # -- who may ---------------------------------------------------------------------------------------

    def _knows(self, address: str) -> bool:
        return any(peer.comes_from(address) for peer in self._peers())

    def _peers(self) -> list[Peer]:
        return self.config.peers

    def _peer(self, event: Any) -> Peer | None:
        address = event.assoc.requestor.address
        title = str(event.assoc.requestor.ae_title or "").strip()
        return next((p for p in self._peers() if p.ae_title == title and p.comes_from(address)), None)

    def _requested(self, event: Any) -> None:
        """Reject an association from a title that is not on the list, or to one that is not ours."""
        request = event.assoc.requestor.primitive
        calling, called = request.calling_ae_title.strip(), request.called_ae_title.strip()
        address = event.assoc.requestor.address
        event.assoc.requestor.ae_title = calling
        known = any(p.ae_title == calling and p.comes_from(address) for p in self._peers())
        if known and called in self.config.ae_titles:
            return
        reason = "called_ae_title" if known else "calling_ae_title"
        self._refused(reason, address, calling=calling, called=called)
        event.assoc.acse.send_reject(0x01, 0x01, 0x07 if known else 0x03)
        event.assoc.kill()

    def _refused(self, reason: str, address: str, **fields: str) -> None:
        self.audit("refused", outcome=4, reason=reason, address=address, **fields)
        report(count="refused", reason=reason)

    def _exceeded(self, bound: str, address: str) -> None:
        self.audit("bound_exceeded", outcome=4, bound=bound, address=address)
        report(count="refused", reason=bound)

    # -- what is asked ---------------------------------------------------------------------------------

    def _store(self, event: Any) -> int:
        request = event.request
        association = event.assoc
        origin = Origin(
            "dicom",
            str(association.requestor.primitive.called_ae_title).strip(),
            str(association.requestor.ae_title).strip(),
        )
        expected = (str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID))
        fields = {
            "address": association.requestor.address,
            "calling": origin.calling,
            "called": origin.called,
        }
        try:
            bounds = self.config.bounds
            self.spool.check_room(bounds.spool_bytes, bounds.free_bytes)
            if not is_whole(Path(event.dataset_path)):
                raise NotTaken("full")
            taken = self.spool.take(Path(event.dataset_path), origin, expected)
        except NotTaken as refusal:
            self.audit("not_taken", outcome=4, reason=refusal.reason, **fields)
            report(count="not_taken", reason=refusal.reason)
            return _STATUS[refusal.reason]
        except OSError as error:
            self.audit("not_taken", outcome=8, reason="storage", error=type(error).__name__, **fields)
            report(count="not_taken", reason="storage")
            return _OUT_OF_RESOURCES
        except Exception as error:  # whatever it is: the sender hears that it was not taken, and tries again
            self.audit("not_taken", outcome=8, reason="failed", error=type(error).__name__, **fields)
            report(count="not_taken", reason="failed")
            return _FAILED
        self.audit("received", study=taken.study, instance=hashed(taken.sop_instance), **fields)
        report(count="received", reason="dicom")
        return _SUCCESS

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        peer = self._peer(event)
        fields = {"address": event.assoc.requestor.address, "calling": str(event.assoc.requestor.ae_title)}
        if peer is None or not peer.worklist:
            self.audit("refused", outcome=4, reason="worklist", **fields)
            report(count="refused", reason="worklist")
            yield 0x0124, None  # refused: not authorised
            return
        with quiet_pydicom():
            asked = event.identifier
            found = answers(asked, load_json(self.spool.root / "worklist.json") or [])
        if found is None:
            yield 0xA900, None
            return
        self.audit("queried", studies=len(found), **fields)
        report(count="queried", reason="worklist")
        for answer in found:
            if event.is_cancelled:
                yield 0xFE00, None
                return
            yield _PENDING, answer

    def _step_begins(self, event: Any) -> tuple[int, Dataset | None]:
        uid = str(event.request.AffectedSOPInstanceUID or "")
        return self._step(event, self.steps.create(uid, event.attribute_list))

    def _step_changes(self, event: Any) -> tuple[int, Dataset | None]:
        uid = str(event.request.RequestedSOPInstanceUID or "")
        return self._step(event, self.steps.change(uid, event.modification_list))

    def _step(self, event: Any, status: int) -> tuple[int, Dataset | None]:
        address, calling = event.assoc.requestor.address, str(event.assoc.requestor.ae_title)
        self.audit("step", outcome=4 if status else 0, status=status, address=address, calling=calling)
        report(count="steps", reason=f"status_{status:04x}")
        return status, None

    def _committed(self, event: Any) -> tuple[int, Dataset | None]:
        keep_commitment(self.spool, event.event_information)
        return _SUCCESS, None


def _restart_bounds(event: Any) -> None:
    stream = getattr(event.assoc.dul.socket, "recv", None)
    if isinstance(stream, Stream):
        stream.begin()


_out = threading.Lock()


def report(**fields: Any) -> None:
    """Say on standard output what happened, for the node's counters."""
    with _out:
        print(json.dumps(fields), flush=True)


def main() -> int:
    """Receive until standard input closes."""
    settings = json.loads(sys.stdin.readline())
    os.umask(0o077)
    config = parse_config(settings["config"], "the node's configuration")
    most = config.bounds.study_instances
    spool = Spool(Path(settings["spool"]), Limits.from_environment(), most)
    spool.clear_receiving()
    receiver = Receiver(config, spool)
    try:
        port = receiver.start()
    except UsageError as error:
        report(failed=str(error))
        return 2
    if config.listen.watch is not None:
        watch = Watch(config.listen.watch, spool, config.bounds, receiver.audit, report)
        threading.Thread(target=watch.run, daemon=True).start()
    threading.Thread(target=_sweep, args=(spool,), daemon=True).start()
    report(ready=port, version=pynetdicom.__version__)
    while os.read(sys.stdin.fileno(), 1 << 10):
        pass
    os._exit(0)


def _sweep(spool: Spool) -> None:
    while True:
        time.sleep(_SWEEP_S)
        spool.clear_receiving(older_s=3600)


if __name__ == "__main__":
    sys.exit(main())
