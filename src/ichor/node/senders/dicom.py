"""C-STORE to an archive, then storage commitment; C-ECHO for ``ichor node check``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from ichor.node.destinations import DicomDestination
from ichor.node.senders.association import associate, release
from ichor.node.senders.package import Committing, NotDelivered
from ichor.reading.dicom.dataset import quiet_pydicom
from ichor.results import KINDS

__all__ = ["DicomSender", "instances_of", "request_commitment"]

_UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
_WARNINGS = (0xB000, 0xB006, 0xB007)
_FORWARDED, _COMMITMENT = "CT images", "storage commitment"
_MOST_CONTEXTS = 120
_ON_ASSOCIATION_S = 2.0
"""How long an association is kept open for an answer that comes at once."""


@dataclass(frozen=True)
class _Object:
    path: Path
    sop_class: str
    sop_instance: str
    syntax: str


class DicomSender:
    """Sends files to one archive.

    Parameters
    ----------
    destination
        Which.
    ae_title
        Ours.
    """

    def __init__(self, destination: DicomDestination, ae_title: str) -> None:
        self.destination = destination
        self.ae_title = ae_title

    def send(self, files: Iterable[Path], transaction: str) -> Committing | None:
        """Send files; those that are there already are sent again, which an archive takes as the same.

        Parameters
        ----------
        files
            DICOM.
        transaction
            UID under which the archive is asked to commit itself, where the configuration says so.

        Returns
        -------
        Committing or None
            None where nothing is awaited.

        Raises
        ------
        NotDelivered
            Where not all were taken.
        """
        objects = [_described(path) for path in files]
        association = self._associate(_contexts(objects))
        try:
            for one in objects:
                self._store(association, one)
        finally:
            release(association)
        if not self.destination.commitment or not objects:
            return None
        return Committing(transaction, tuple(one.sop_instance for one in objects))

    def echo(self) -> None:
        """Ask for an answer.

        Raises
        ------
        NotDelivered
            Where there is none.
        """
        association = self._associate([build_context(Verification)])
        try:
            status = association.send_c_echo()
            if not status or status.Status != 0:
                raise NotDelivered("no_echo")
        finally:
            release(association)

    def wanted(self) -> list[str]:
        """Return what this destination must take, in words."""
        kinds: list[str] = [*self.destination.kinds] if self.destination.results else [_FORWARDED]
        return [*kinds, _COMMITMENT] if self.destination.commitment else kinds

    def check_contexts(self) -> None:
        """Ask which of the objects that this destination is to get it would take.

        Raises
        ------
        NotDelivered
            Where it takes fewer than all.
        """
        others = {_FORWARDED: str(CTImageStorage), _COMMITMENT: str(StorageCommitmentPushModel)}
        wanted = {name: others.get(name) or str(KINDS[name].sop_class) for name in self.wanted()}
        association = self._associate(
            [build_context(uid, list(_UNCOMPRESSED)) for uid in sorted(set(wanted.values()))]
        )
        try:
            taken = {str(c.abstract_syntax) for c in association.accepted_contexts}
        finally:
            release(association)
        lacking = [name for name, uid in wanted.items() if uid not in taken]
        if lacking:
            raise NotDelivered("does not take " + ", ".join(lacking))

    def _associate(self, contexts: list[Any], handlers: list[Any] | None = None) -> Any:
        return associate(self.destination, self.ae_title, contexts, handlers)

    def commit(
        self,
        waiting: Committing,
        objects: Iterable[Path],
        keep: Callable[[Dataset], None],
        is_answered: Callable[[], bool],
    ) -> None:
        """Ask the archive to say that it keeps what was sent; the answer may come at once, or to our own port.

        Parameters
        ----------
        waiting
            What was sent.
        objects
            The same as files.
        keep
            Called with the answer's data set, where it comes on this association.
        is_answered
            Asked again and again for a while, until it came one way or the other.

        Raises
        ------
        NotDelivered
            Where the archive does not take the request.
        """

        def answer(event: Any) -> tuple[int, None]:
            keep(event.event_information)
            return 0x0000, None

        handlers = [(evt.EVT_N_EVENT_REPORT, answer)]
        association = self._associate([build_context(StorageCommitmentPushModel)], handlers)
        try:
            request = request_commitment(waiting, [_described(path) for path in objects])
            status, _ = association.send_n_action(
                request, 1, StorageCommitmentPushModel, _COMMITMENT_INSTANCE
            )
            if not status or status.Status != 0:
                raise NotDelivered("commitment_refused")
            ends = time.monotonic() + _ON_ASSOCIATION_S
            while not is_answered() and association.is_established and time.monotonic() < ends:
                time.sleep(0.05)
        finally:
            release(association)

    def _store(self, association: Any, one: _Object) -> None:
        with quiet_pydicom():
            data = pydicom.dcmread(one.path)
            try:
                status = association.send_c_store(data)
            except (ValueError, AttributeError, RuntimeError):
                # No context for it was accepted, or the association went away.
                raise NotDelivered(
                    "not_accepted" if association.is_established else "connection_lost"
                ) from None
        if not status:
            raise NotDelivered("connection_lost")
        if status.Status != 0 and status.Status not in _WARNINGS:
            raise NotDelivered(f"status_{status.Status:04x}")


def request_commitment(waiting: Committing, objects: list[_Object]) -> Dataset:
    """Return the information of an N-ACTION (PS3.4 J.3.2)."""
    request = Dataset()
    request.TransactionUID = waiting.transaction
    items = []
    for one in objects:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.sop_class, one.sop_instance
        items.append(item)
    request.ReferencedSOPSequence = items
    return request


def instances_of(files: Iterable[Path]) -> list[str]:
    """Return the SOP instance UIDs of files."""
    return [_described(path).sop_instance for path in files]


def _described(path: Path) -> _Object:
    with quiet_pydicom():
        head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        syntax = str(head.file_meta.TransferSyntaxUID)
        return _Object(path, str(head.SOPClassUID), str(head.SOPInstanceUID), syntax)


def _contexts(objects: list[_Object]) -> list[Any]:
    """Contexts for each class: what is not compressed in both forms, the compressed as it is."""
    out = []
    for sop_class in dict.fromkeys(one.sop_class for one in objects):
        syntaxes = {one.syntax for one in objects if one.sop_class == sop_class}
        if syntaxes & set(_UNCOMPRESSED):
            out.append(build_context(sop_class, list(_UNCOMPRESSED)))
        out += [build_context(sop_class, [s]) for s in sorted(syntaxes - set(_UNCOMPRESSED))]
    return out[:_MOST_CONTEXTS]
