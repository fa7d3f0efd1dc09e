"""Whether a study is lost or delivered twice when parts of the node are killed at random.

Usage: python -m benchmarks.robustness.node_kills [--studies 8] [--kills 30] [--seed 0]

Sends small studies to a node by C-STORE, each file again until it is answered with success, and ends the node, its
receiver, its worker or all of them with SIGKILL after a random time: while it receives, assesses or sends. What is down
is started again, until all kills are spent. At the end every study must have its results in the archive, each object
under one UID, as many as the worklist has results; no delivery may be open. Exits with 1 where that is not so. Needs
the extras `node` and `test-serve`; listens on this machine alone.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.shared.arguments import ROOT, parser
from benchmarks.shared.tables import heading, row
from ichor.node.outbox import DONE

sys.path.insert(0, str(ROOT / "tests"))
from node.peers import Archive, NodeProcess, noise, peer, send, study
from serving.served import until

_LONGEST_S = 4.0
"""Between two kills; a small study takes about two seconds."""
_PATIENCE_S = 900.0
_PARTS = ("node", "receiver", "worker", "all")


@dataclass
class Trial:
    """One node after the other over one state folder, and an archive that stays."""

    random: random.Random
    node: NodeProcess
    archive: Archive
    sent: set[str] = field(default_factory=set)
    killed: Counter[str] = field(default_factory=Counter)
    done: threading.Event = field(default_factory=threading.Event)

    def push(self, studies: int, seed: int) -> None:
        """Send studies one after the other, without end where kills are left; each file until it is taken."""
        number = 0
        while number < studies or not self.done.is_set():
            files = noise(study(1000 * seed + number), number)
            while files:
                try:
                    statuses = send(self.node.port, files)
                    files = [f for f, status in zip(files, statuses, strict=True) if status]
                except (AssertionError, AttributeError, OSError, RuntimeError, ValueError):
                    time.sleep(0.2)  # cut off: all of them once more
            self.sent.add(str(study(1000 * seed + number)[0].StudyInstanceUID))
            number += 1
            self.done.wait(1.0)

    def kill(self) -> None:
        """End something at a random moment, and start what is down."""
        time.sleep(self.random.uniform(0.05, _LONGEST_S))
        part = self.random.choice(_PARTS)
        for module, names in (
            ("ichor.node.receiver", ("receiver", "all")),
            ("ichor.jobs.worker", ("worker", "all")),
        ):
            if part in names:
                try:
                    self.node.kill_child(module)
                except (AssertionError, ProcessLookupError, FileNotFoundError):
                    continue  # just starting
        if part in ("node", "all"):
            self.node.kill()
            self.node.log.clear()
            self.node.start()
        self.killed[part] += 1


def run(studies: int, kills: int, seed: int) -> bool:
    """Make the trial and print its table; return whether nothing was lost."""
    with tempfile.TemporaryDirectory(prefix="ichor-node-kills-") as folder:
        archive = Archive(commitment="later")
        node = NodeProcess(
            Path(folder) / "state",
            {
                "peers": [peer("SENDER"), peer("PACS")],
                "completion": {"quiet_seconds": 3.0},
                "retrying": {"first_seconds": 0.5, "most_seconds": 5.0},
                "destinations": [
                    archive.destination(kinds=["seg", "sr"], commitment=True, commitment_seconds=10.0)
                ],
            },
        ).start()
        archive.node_port = node.port
        trial = Trial(random.Random(seed), node, archive)
        began = time.monotonic()
        sender = threading.Thread(target=trial.push, args=(studies, seed))
        sender.start()
        try:
            for _ in range(kills):
                trial.kill()
            trial.done.set()
            sender.join()
            until(lambda: _is_quiet(trial), "all studies", _PATIENCE_S)
            lines = _lines(trial)
        finally:
            trial.done.set()
            node.stop()
            archive.stop()
        lines.append(("seconds", f"{time.monotonic() - began:.0f}", ""))
    heading("what", "found", "right")
    for name, found, right in lines:
        row(name, found, right)
    return all(right in ("", found) for _, found, right in lines)


def _rows(trial: Trial, query: str) -> list[Any]:
    with sqlite3.connect(trial.node.state / "ichor.db") as database:
        return database.execute(query).fetchall()


def _is_quiet(trial: Trial) -> bool:
    incoming = trial.node.state / "node" / "incoming"
    if any(path.name in ("arrived", "taken") for path in incoming.glob("*/*")):
        return False
    open_jobs = _rows(trial, "SELECT count(*) FROM job WHERE state != 'done'")[0][0]
    deliveries = dict(_rows(trial, "SELECT state, count(*) FROM delivery GROUP BY state"))
    results = _rows(trial, "SELECT count(*) FROM study")[0][0]
    return not open_jobs and set(deliveries) <= set(DONE) and sum(deliveries.values()) == results


def _lines(trial: Trial) -> list[tuple[str, str, str]]:
    instances = trial.archive.instances()
    reports = [d for d in trial.archive.received if d.Modality == "SR"]
    studies = {str(d.StudyInstanceUID) for d in reports}
    ready = _rows(trial, "SELECT count(*) FROM study WHERE state = 'ready'")[0][0]
    failed = "SELECT count(*) FROM study WHERE refusal_code IN ('gave_up', 'failed', 'no_image')"
    left = "SELECT count(*) FROM delivery WHERE state != 'delivered'"
    rows = _rows(trial, "SELECT count(*) FROM study")[0][0]
    kills = ", ".join(f"{n} {part}" for part, n in sorted(trial.killed.items()))
    return [
        ("kills", f"{sum(trial.killed.values())} ({kills})", ""),
        ("studies sent", str(len(trial.sent)), ""),
        ("studies with a report in the archive", str(len(studies & trial.sent)), str(len(trial.sent))),
        ("studies that nobody sent", str(len(studies - trial.sent)), "0"),
        ("results in the worklist", str(rows), ""),
        (
            "ready (the rest: parts of studies whose sender was cut off, assessed again when whole)",
            str(ready),
            "",
        ),
        ("given up or failed", str(_rows(trial, failed)[0][0]), "0"),
        ("deliveries that were not made", str(_rows(trial, left)[0][0]), "0"),
        ("different reports in the archive", str(len({d.SOPInstanceUID for d in reports})), str(rows)),
        ("objects that came more than once, as the same", str(sum(n > 1 for n in instances.values())), ""),
    ]


def main() -> int:
    """Run the command."""
    arguments = parser(__doc__, data=False)
    arguments.add_argument("--studies", type=int, default=8)
    arguments.add_argument("--kills", type=int, default=30)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    return 0 if run(options.studies, options.kills, options.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
