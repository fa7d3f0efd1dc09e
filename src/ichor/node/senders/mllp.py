"""MLLP: one HL7 message, one acknowledgement, within a time."""

from __future__ import annotations

import socket
import ssl
import time

from ichor.node.destinations import Hl7Destination
from ichor.node.senders.package import NotDelivered
from ichor.node.transport import client_context

__all__ = ["acknowledged", "send_message", "try_mllp"]

_START, _END = b"\x0b", b"\x1c\r"
_MOST_ANSWER = 1 << 16
_REFUSAL_S = 1.0


def send_message(destination: Hl7Destination, message: str, control: str) -> None:
    """Send a message and wait until the receiver takes it.

    Parameters
    ----------
    destination
        Whom to.
    message
        Segments, each ended by a carriage return.
    control
        MSH-10 of it, which the answer must repeat.

    Raises
    ------
    NotDelivered
        ``unreachable``, ``timeout``, ``connection_lost``, ``bad_answer``; ``nak_ae`` or ``nak_ar`` where the receiver
        says no: it is tried again, as its reason may pass.
    """
    try:
        with _connection(destination) as connection:
            connection.sendall(_START + message.encode("utf-8") + _END)
            answer = _answer(connection, time.monotonic() + destination.timeout_seconds)
    except TimeoutError:
        raise NotDelivered("timeout") from None
    except ConnectionError:
        raise NotDelivered("unreachable") from None
    except OSError:
        raise NotDelivered("unreachable") from None
    acknowledged(answer, control)


def try_mllp(destination: Hl7Destination) -> None:
    """Connect, by TLS where it is configured; nothing is sent.

    Raises
    ------
    NotDelivered
        ``unreachable`` or ``timeout``; ``no_tls`` where somebody listens and the two do not come to terms.
    """
    try:
        with _connection(destination) as connection:
            if destination.tls is not None and _is_refused(connection):
                raise NotDelivered("no_tls")
    except TimeoutError:
        raise NotDelivered("timeout") from None
    except ssl.SSLError:
        raise NotDelivered("no_tls") from None
    except OSError:
        raise NotDelivered("unreachable") from None


def _is_refused(connection: socket.socket) -> bool:
    """Return whether a peer closes at once: by TLS 1.3 it looks at our certificate after the handshake."""
    connection.settimeout(_REFUSAL_S)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def _connection(destination: Hl7Destination) -> socket.socket:
    address = (destination.host, destination.port)
    connection = socket.create_connection(address, destination.timeout_seconds)
    if destination.tls is None:
        return connection
    context: ssl.SSLContext = client_context(destination.tls)
    try:
        return context.wrap_socket(connection, server_hostname=destination.host)
    except OSError:
        connection.close()
        raise


def _answer(connection: socket.socket, ends: float) -> str:
    received = b""
    while _END not in received:
        connection.settimeout(max(0.01, ends - time.monotonic()))
        if time.monotonic() >= ends:
            raise TimeoutError
        piece = connection.recv(4096)
        if not piece:
            raise NotDelivered("connection_lost")
        received += piece
        if len(received) > _MOST_ANSWER:
            raise NotDelivered("bad_answer")
    return received.partition(_START)[2].partition(_END)[0].decode("utf-8", "replace")


def acknowledged(answer: str, control: str) -> None:
    """Look at an acknowledgement.

    Raises
    ------
    NotDelivered
        Where it is none for this message, or says no.
    """
    segments = [line for line in answer.replace("\n", "\r").split("\r") if line]
    if not segments or not segments[0].startswith("MSH") or len(segments[0]) < 8:
        raise NotDelivered("bad_answer")
    separator = segments[0][3]
    fields = next((s.split(separator) for s in segments if s.startswith(f"MSA{separator}")), None)
    if fields is None or len(fields) < 3 or fields[2].strip() != control:
        raise NotDelivered("bad_answer")
    code = fields[1].strip().upper()
    if code in ("AA", "CA"):
        return
    raise NotDelivered("nak_ar" if code in ("AR", "CR") else "nak_ae")
