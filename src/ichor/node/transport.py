"""Bounds on the network side of pynetdicom: what a peer may make this process hold or wait for.

pynetdicom takes a length of up to 4 GiB on a stranger's word, waits without end for a TLS handshake, and has no bound
on the bytes or the time of one object. Here each is bounded where bytes are taken off the socket.
"""

from __future__ import annotations

import collections
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any

from pynetdicom.transport import AssociationServer, AssociationSocket, RequestHandler

from ichor.node.config import Bounds
from ichor.node.destinations import Tls

__all__ = [
    "Admission",
    "BoundedServer",
    "Stream",
    "client_context",
    "end_partial",
    "is_reachable",
    "server_context",
    "steady",
]

_CHUNK = 1 << 16
_SLACK = 1 << 16
"""Bytes beside the object: command sets, headers of PDUs."""


def _close(connection: AssociationSocket) -> None:
    """Close a socket also where its peer is gone; pynetdicom leaves it open then, until the garbage is collected."""
    held: socket.socket | None = connection.socket
    if held is not None:
        with contextlib.suppress(OSError):
            held.shutdown(socket.SHUT_RDWR)
        held.close()


AssociationSocket._shutdown_socket = _close  # type: ignore[method-assign, assignment]


class Exceeded(OSError):
    """A peer went beyond a bound; its connection is closed."""


class Stream:
    """Takes the bytes of one connection within bounds; stands in for ``AssociationSocket.recv``.

    Parameters
    ----------
    connection
        pynetdicom's socket.
    bounds
        Of the node.
    on_exceeded
        Called with the name of the bound.
    """

    def __init__(self, connection: Any, bounds: Bounds, on_exceeded: Callable[[str], None]) -> None:
        self.connection = connection
        self.bounds = bounds
        self.on_exceeded = on_exceeded
        self.begin()

    def begin(self) -> None:
        """Note that a message is done: bytes and time count anew."""
        self._taken = 0
        self._ends: float | None = None

    def __call__(self, wanted: int) -> bytearray:
        """Return so many bytes, or fewer where the peer went away.

        Raises
        ------
        Exceeded
            Where a PDU or an object is longer, or slower, than any may be.
        """
        if wanted > self.bounds.pdu_bytes + _SLACK:
            self._refuse("pdu_bytes")
        self._taken += wanted
        if self._taken > self.bounds.object_bytes * 1.1 + _SLACK:
            self._refuse("object_bytes")
        if self._ends is None:
            self._ends = time.monotonic() + self.bounds.object_seconds
        out = bytearray()
        while len(out) < wanted:
            left = self._ends - time.monotonic()
            if left <= 0:
                self._refuse("object_seconds")
            self.connection.socket.settimeout(min(left, self.bounds.idle_seconds))
            try:
                piece = self.connection.socket.recv(min(_CHUNK, wanted - len(out)))
            except TimeoutError:
                self._refuse("object_seconds" if left <= self.bounds.idle_seconds else "idle_seconds")
            if not piece:
                break
            out += piece
        return out

    def _refuse(self, bound: str) -> None:
        self.on_exceeded(bound)
        raise Exceeded(bound)


@dataclass
class Admission:
    """Who may connect at all, before a byte is read.

    Attributes
    ----------
    knows
        Whether an address belongs to some peer.
    bounds
        Of the node.
    on_refused
        Called with the reason and the address.
    """

    knows: Callable[[str], bool]
    bounds: Bounds
    on_refused: Callable[[str, str], None]

    def __post_init__(self) -> None:
        self._recent: dict[str, collections.deque[float]] = {}

    def admits(self, address: str, active: int) -> bool:
        """Return whether a connection from an address is accepted, where so many are open."""
        if not self.knows(address):
            self.on_refused("address", address)
            return False
        now = time.monotonic()
        recent = self._recent.setdefault(address, collections.deque())
        while recent and now - recent[0] > 60:
            recent.popleft()
        if len(recent) >= self.bounds.connections_per_minute:
            self.on_refused("rate", address)
            return False
        if active >= self.bounds.associations:
            self.on_refused("associations", address)
            return False
        recent.append(now)
        return True


class _Handler(RequestHandler):
    server: BoundedServer

    def _create_association(self) -> Any:
        association = super()._create_association()
        connection: Any = association.dul.socket
        address = self.client_address[0]
        stream = Stream(connection, self.server.bounds, lambda bound: self.server.on_exceeded(bound, address))
        connection.recv = stream
        return association


class BoundedServer(ThreadingMixIn, AssociationServer):
    """pynetdicom's server with bounds; ``admission`` and ``bounds`` are set before it serves."""

    daemon_threads = True
    request_queue_size = 64
    admission: Admission
    bounds: Bounds
    on_exceeded: Callable[[str, str], None]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options["request_handler"] = _Handler
        self._beginning: set[Any] = set()
        super().__init__(*arguments, **options)

    def get_request(self) -> Any:
        """Accept a connection; a TLS handshake waits until somebody reads, in a thread of its own."""
        listening: Any = self.socket
        client, address = listening.accept()
        client.settimeout(self.bounds.association_seconds)
        if self.ssl_context:
            client = self.ssl_context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Admit or refuse a connection by its address."""
        # In this order: a connection goes from the first to the second, and is in both for a moment.
        beginning = set(self._beginning)
        peers = (association.requestor.address_info for association in self.active_associations)
        active = {peer.as_tuple[:2] for peer in peers if peer is not None}
        return self.admission.admits(str(client_address[0]), len(beginning | active))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a connection in a thread of its own; it counts from here on."""
        self._beginning.add(client_address[:2])
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shake hands, then serve the connection."""
        try:
            if isinstance(request, ssl.SSLSocket):
                request.do_handshake()
            self.finish_request(request, client_address)
        except (OSError, ValueError):
            self.on_exceeded("handshake", str(client_address[0]))
            self.shutdown_request(request)
        finally:
            self._beginning.discard(client_address[:2])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: a traceback may quote what came."""
        self.on_exceeded("connection", str(client_address[0]))


class _Checkpoint(threading.Event):
    """Where pynetdicom's reactor halts while a request is sent: ``clear`` returns once it has halted.

    pynetdicom takes a reactor that is just passing for one that halts. It then takes the peer's answer off the queue,
    and whoever asked waits for it until the time is up.
    """

    def __init__(self, association: Any) -> None:
        super().__init__()
        self._association = association
        self._turn = threading.Lock()
        self._halted = threading.Event()
        self.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Halt the reactor until it may go on."""
        while True:
            with self._turn:
                if self.is_set():
                    self._halted.clear()
                    return True
                self._halted.set()
            if not super().wait(timeout) and timeout is not None:
                return False

    def clear(self) -> None:
        """Halt the reactor before its next step."""
        with self._turn:
            super().clear()
        while (
            threading.current_thread() is not self._association
            and self._association.is_alive()
            and not self._halted.wait(0.05)
        ):
            pass


def steady(association: Any) -> Any:
    """Return an association on which no answer is lost, however busy the machine is.

    Parameters
    ----------
    association
        That we opened, before anything is sent on it.
    """
    association._reactor_checkpoint = _Checkpoint(association)
    return association


def server_context(tls: Tls) -> ssl.SSLContext:
    """Return the context of a server that asks for the peer's certificate (BCP 195: TLS 1.2 or later)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    return _mutual(context, tls)


def client_context(tls: Tls) -> ssl.SSLContext:
    """Return the context of a client that shows a certificate and checks the server's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # archives are known by their authority; names of hosts in rooms change
    return _mutual(context, tls)


def _mutual(context: ssl.SSLContext, tls: Tls) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate, tls.key)
    context.load_verify_locations(tls.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def end_partial(association: Any) -> None:
    """Remove what an association that ended had begun to write."""
    message = getattr(association.dimse, "message", None)
    file = getattr(message, "_data_set_file", None)
    if file is not None:
        with contextlib.suppress(OSError):
            file.close()
            Path(file.name).unlink(missing_ok=True)


def is_reachable(host: str, port: int, seconds: float) -> bool:
    """Return whether something listens."""
    try:
        with socket.create_connection((host, port), seconds):
            return True
    except OSError:
        return False
