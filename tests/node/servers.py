"""What a node delivers to besides archives: an interface engine, a web server, a worklist manager, on loopback."""

from __future__ import annotations

import http.server
import socketserver
import ssl
import threading
from typing import Any

import pynetdicom.sop_class as sop
from pydicom.dataset import Dataset
from pynetdicom import AE, evt


class MllpServer:
    """An interface engine: notes messages, and answers as it is told.

    Parameters
    ----------
    answers
        Codes for the first messages (``AA``, ``AE``, ``silent``, ``close``, ``other``); then ``AA``.
    tls
        Of a server; None speaks without.
    """

    def __init__(self, *answers: str, tls: ssl.SSLContext | None = None) -> None:
        self.answers = list(answers)
        self.messages: list[str] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                content = b""
                while not content.endswith(b"\x1c\r"):
                    piece = self.request.recv(4096)
                    if not piece:
                        return
                    content += piece
                message = content[1:-2].decode()
                outer.messages.append(message)
                code = outer.answers.pop(0) if outer.answers else "AA"
                control = message.split("\r")[0].split("|")[9]
                if code == "silent":
                    self.request.recv(1)  # until the sender goes away
                elif code != "close":
                    named = "SOMETHING" if code == "other" else control
                    answer = f"MSH|^~\\&|X|Y|ICHOR|Z|20260101||ACK|1|P|2.5.1\rMSA|{'AA' if code == 'other' else code}|{named}\r"
                    self.request.sendall(b"\x0b" + answer.encode() + b"\x1c\r")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def get_request(self) -> Any:
                connection, address = super().get_request()
                if tls is not None:  # hands are shaken in a thread of its own, which closes whom it refuses
                    connection = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                return connection, address

            def handle_error(self, *_: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.server_address[1]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Manager:
    """A worklist manager: makes the procedure steps that it is asked for, each once, and cancels those that wait.

    Parameters
    ----------
    statuses
        Of the first answers to N-CREATE; then success.

    Attributes
    ----------
    cancel_statuses
        Of the next answers to a request to cancel; then as PS3.4 CC.2.2 has it.
    """

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.cancel_statuses: list[int] = []
        self.steps: dict[str, Dataset] = {}
        entity = AE("MANAGER")
        entity.add_supported_context(sop.UnifiedProcedureStepPush)
        handlers = [(evt.EVT_N_CREATE, self._create), (evt.EVT_N_ACTION, self._act)]
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.place = {"host": "127.0.0.1", "port": self.server.server_address[1], "ae_title": "MANAGER"}

    def stop(self) -> None:
        self.server.shutdown()

    def _create(self, event: Any) -> tuple[int, Dataset | None]:
        if self.statuses:
            return self.statuses.pop(0), None
        uid = str(event.request.AffectedSOPInstanceUID)
        if uid in self.steps:
            return 0x0111, None
        self.steps[uid] = event.attribute_list
        return 0, event.attribute_list

    def open(self) -> list[Dataset]:
        """What stands on its worklist."""
        return [s for s in self.steps.values() if s.ProcedureStepState in ("SCHEDULED", "IN PROGRESS")]

    def _act(self, event: Any) -> tuple[int, None]:
        request = event.request
        assert request.ActionTypeID == 2 and request.RequestedSOPClassUID == sop.UnifiedProcedureStepPush
        step = self.steps.get(str(request.RequestedSOPInstanceUID))
        if self.cancel_statuses:
            return self.cancel_statuses.pop(0), None
        if step is None:
            return 0xC307, None
        state = step.ProcedureStepState
        if state == "SCHEDULED":
            assert event.action_information.ReasonForCancellation
            step.ProcedureStepState = "CANCELED"
        # Nobody who reads it can be told.
        return {"SCHEDULED": 0, "CANCELED": 0xB304, "COMPLETED": 0xC311}.get(state, 0xC312), None


class WebServer:
    """Notes what is posted, and answers with the statuses given, then with 200; ``answer`` is the body."""

    answer = b""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.posts: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.posts.append((dict(self.headers), body))
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def _answer(self) -> None:
                self.send_response(outer.statuses.pop(0) if outer.statuses else 200)
                self.end_headers()
                self.wfile.write(outer.answer)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/base"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
