"""How a node bears many senders at once, and in which time results come back.

Usage: python -m benchmarks.robustness.node_load [--studies 40] [--senders 8] [--away 600]

So many senders push small studies at once, their files interleaved; half of the studies are sent twice. At the end each
study must have a report in the archive, each result of the worklist one and none twice, and the receiver must have held
less than 150 MiB. On a quiet machine there are as many results as studies; where slices of a study come with a pause
longer than the quiet time, what came first is assessed by itself before. Then a study of 30
slices is sent alone: the time from its last slice to its results in the archive. With --away the archive is away for so
many seconds from the first slice on: nothing is lost, and each report comes once when it is back. Exits with 1 where
something is not as it should be. Needs the extras `node` and `test-serve`; listens on this machine alone.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path

from pydicom.dataset import Dataset

from benchmarks.shared.arguments import ROOT, parser
from benchmarks.shared.tables import heading, row

sys.path.insert(0, str(ROOT / "tests"))
from node.peers import Archive, NodeProcess, noise, peer, send, study
from serving.served import until

_QUIET_S = 2.0
_MOST_MIB = 150
_MOST_WAIT_S = 30.0
"""Between two tries of a delivery."""
_TRIES, _NOT_SENT = 20, -1
_PATIENCE_S = 1800.0


def run(studies: int, senders: int, away: float) -> bool:
    """Make the trial and print its table; return whether all is as it should be."""
    archive = Archive()
    with tempfile.TemporaryDirectory(prefix="ichor-node-load-") as folder:
        node = NodeProcess(
            Path(folder) / "state",
            {
                "peers": [peer("SENDER"), peer("PACS")],
                "completion": {"quiet_seconds": _QUIET_S},
                "retrying": {"first_seconds": 1.0, "most_seconds": _MOST_WAIT_S},
                "destinations": [archive.destination(kinds=["sr"], commitment=True)],
            },
        ).start()
        archive.node_port = node.port
        back = _send_away(archive, away)
        try:
            lines = [*_many(node, archive, studies, senders), *_one(node, archive)]
        finally:
            back.join()
            node.stop()
            archive.stop()
    heading("what", "found", "right")
    for name, found, right in lines:
        row(name, found, right)
    return all(right in ("", found) for _, found, right in lines)


def _send_away(archive: Archive, seconds: float) -> threading.Thread:
    """Take the archive away; returns the thread that brings it back."""

    def wait() -> None:
        if seconds:
            time.sleep(seconds)
            archive.start()

    if seconds:
        archive.stop()
    back = threading.Thread(target=wait)
    back.start()
    return back


def _many(node: NodeProcess, archive: Archive, studies: int, senders: int) -> list[tuple[str, str, str]]:
    made = [noise(study(number), number) for number in range(studies)]
    failed: list[int] = []

    def push(first: int) -> None:
        mine = made[first::senders]
        for k in range(len(mine[0])):  # interleaved: one slice of each, then the next
            failed.extend(s for s in _send(node, [files[k] for files in mine]) if s)
        for files in mine[::2]:
            failed.extend(s for s in _send(node, files) if s)

    began = time.monotonic()
    threads = [threading.Thread(target=push, args=(k,)) for k in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = time.monotonic() - began
    until(lambda: _is_settled(node), "all studies", _PATIENCE_S)
    done = time.monotonic() - began
    reported = {str(data.StudyInstanceUID) for data in archive.received}
    peak = _peak_mib(node)
    right = "yes" if peak < _MOST_MIB else f"under {_MOST_MIB}"
    return [
        ("files that were not taken", str(len(failed)), "0"),
        ("seconds until all were taken", f"{sent:.1f}", ""),
        ("seconds until all were delivered", f"{done:.1f}", ""),
        ("studies with a report in the archive", str(len(reported)), str(studies)),
        ("results in the worklist", str(_rows(node)), ""),
        ("different reports in the archive", str(len(archive.instances())), str(_rows(node))),
        ("reports that came more than once", str(sum(n > 1 for n in archive.instances().values())), "0"),
        (f"peak of the receiver, {peak:.0f} MiB, is under {_MOST_MIB}", right, "yes"),
    ]


def _send(node: NodeProcess, files: list[Dataset]) -> list[int]:
    """Push files, as a modality does: where no association is to be had, again after a while."""
    for _ in range(_TRIES):
        try:
            statuses: list[int] = send(node.port, files)
            return statuses
        except AssertionError:
            time.sleep(1.0)
    return [_NOT_SENT] * len(files)


def _one(node: NodeProcess, archive: Archive) -> list[tuple[str, str, str]]:
    before = len(archive.received)
    files = study(9999, step=1)
    _send(node, files)
    began = time.monotonic()
    until(lambda: len(archive.received) > before, "the results", _PATIENCE_S)
    seconds = time.monotonic() - began
    return [
        (
            f"seconds from the last of {len(files)} slices to the results, {_QUIET_S:g} of them quiet",
            f"{seconds:.1f}",
            "",
        )
    ]


def _query(node: NodeProcess, query: str) -> int:
    with sqlite3.connect(node.state / "ichor.db") as database:
        return int(database.execute(query).fetchone()[0])


def _is_settled(node: NodeProcess) -> bool:
    """Return whether all that came was assessed, and each result delivered."""
    if any(path.name in ("arrived", "taken") for path in (node.state / "node" / "incoming").glob("*/*")):
        return False
    if _query(node, "SELECT count(*) FROM job WHERE state != 'done'"):
        return False
    delivered = _query(node, "SELECT count(*) FROM delivery WHERE state = 'delivered'")
    return 0 < delivered == _rows(node)


def _rows(node: NodeProcess) -> int:
    return _query(node, "SELECT count(*) FROM study")


def _peak_mib(node: NodeProcess) -> float:
    status = Path(f"/proc/{node.child('ichor.node.receiver')}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> int:
    """Run the command."""
    arguments = parser(__doc__, data=False)
    arguments.add_argument("--studies", type=int, default=40)
    arguments.add_argument("--senders", type=int, default=8)
    arguments.add_argument("--away", type=float, default=0.0, help="seconds for which the archive is away")
    options = arguments.parse_args()
    return 0 if run(options.studies, options.senders, options.away) else 1


if __name__ == "__main__":
    sys.exit(main())
