"""What a node delivers to besides archives: an interface engine, a web server, a worklist manager, on loopback."""

from __future__ import annotations

import http.server
import socketserver
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
    """

    def __init__(self, *answers: str) -> None:
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

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.server_address[1]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Manager:
    """A worklist manager: makes the procedure steps that it is asked for, each once.

    Parameters
    ----------
    statuses
        Of the first answers; then success.
    """

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.steps: dict[str, Dataset] = {}
        entity = AE("MANAGER")
        entity.add_supported_context(sop.UnifiedProcedureStepPush)
        handlers = [(evt.EVT_N_CREATE, self._create)]
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
