"""Whether a study is lost or done twice when the server, its worker or both are killed at random.

Usage: python -m benchmarks.robustness.kills [--studies 20] [--kills 30] [--seed 0]

Sends small studies, several of them in one upload, then ends the web process, the worker or both with SIGKILL after
a random time, starts what is down again, and goes on so until all kills are spent; studies are sent again when few
are left. At the end every study must be in the list once, ready, with findings, its volume and its report, and the
uploads removed. Exits with 1 where one is not. Needs the extras `serve` and `test-serve`; listens on this machine
alone.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.shared.arguments import ROOT, parser
from benchmarks.shared.tables import heading, row

sys.path.insert(0, str(ROOT / "tests"))
from serving.served import Served, exam, listed, submit, until

_AT_A_TIME = 4
"""Studies of one upload: each is an input, and a job, of its own."""
_LONGEST_S = 2.5
"""Between two kills; a small study takes about a second."""
_PATIENCE_S = 600.0


@dataclass
class Trial:
    """One server after the other over one state folder."""

    state: Path
    random: random.Random
    served: Served
    studies: list[str] = field(default_factory=list)
    killed: Counter[str] = field(default_factory=Counter)
    log: list[dict[str, object]] = field(default_factory=list)

    def send(self, number: int) -> None:
        """Send so many further studies."""
        with self.served.client() as client:
            while number > 0:
                files = [
                    (f"{len(self.studies) + k}.nii", exam(len(self.studies) + k))
                    for k in range(min(_AT_A_TIME, number))
                ]
                self.studies += [s["id"] for s in submit(client, *files)["studies"]]
                number -= len(files)

    def waiting(self) -> int:
        """How many studies are not done."""
        with self.served.client() as client:
            rows = listed(client, duplicates=True)
        return sum(r["state"] not in ("ready", "refused") for r in rows)

    def kill(self) -> None:
        """End something at a random moment, and start what is down."""
        time.sleep(self.random.uniform(0.05, _LONGEST_S))
        who = self.random.choice(["worker", "web", "both"])
        if who != "web" and self.served.has_worker():
            self.served.kill_worker()
        if who != "worker":
            self.served.kill()
            self.log += self.served.events()
            self.served = Served(self.state).start(wait=False)
        self.killed[who] += 1


def run(studies: int, kills: int, seed: int) -> bool:
    """Make the trial and print its table; return whether nothing was lost."""
    with tempfile.TemporaryDirectory(prefix="ichor-kills-") as folder:
        state = Path(folder) / "state"
        trial = Trial(state, random.Random(seed), Served(state).start())
        began = time.monotonic()
        try:
            trial.send(studies)
            for _ in range(kills):
                until(lambda: bool(httpx.get(f"{trial.served.url}/health/live")), "the server", _PATIENCE_S)
                if trial.waiting() < 2:
                    trial.send(_AT_A_TIME)
                trial.kill()
            until(lambda: trial.waiting() == 0, "all studies", _PATIENCE_S)
            until(lambda: not any((state / "uploads").iterdir()), "the uploads to be removed", 60)
            lines = _lines(trial)
        finally:
            trial.served.stop()
        lines.append(("seconds", f"{time.monotonic() - began:.0f}", ""))
    heading("what", "found", "right")
    for name, found, right in lines:
        row(name, found, right)
    return all(right in ("", found) for _, found, right in lines)


def _lines(trial: Trial) -> list[tuple[str, str, str]]:
    sent = len(trial.studies)
    with trial.served.client() as client:
        rows = {r["id"]: r for r in listed(client, duplicates=True)}
        whole = sum(
            all(
                client.get(f"/studies/{study}/{name}").status_code == 200
                for name in ("findings", "volume.nii.gz", "report.html", "overlays.zip")
            )
            for study in trial.studies
        )
    states = Counter(str(rows[s]["state"]) if s in rows else "lost" for s in trial.studies)
    done = Counter(e["study"] for e in trial.log + trial.served.events() if e["event"] == "study_done")
    kills = ", ".join(f"{n} {who}" for who, n in sorted(trial.killed.items()))
    return [
        ("kills", f"{sum(trial.killed.values())} ({kills})", ""),
        ("studies sent", str(sent), ""),
        ("ready", str(states["ready"]), str(sent)),
        ("given up or refused", str(states["refused"]), "0"),
        ("lost", str(states["lost"]), "0"),
        ("rows that nobody sent", str(len(rows.keys() - set(trial.studies))), "0"),
        ("with findings, volume, report and overlays", str(whole), str(sent)),
        ("finished more than once", str(sum(n > 1 for n in done.values())), "0"),
        ("most attempts of a study", str(_most_attempts(trial)), ""),
    ]


def _most_attempts(trial: Trial) -> int:
    events = trial.log + trial.served.events()
    return max((int(str(e["attempt"])) for e in events if e["event"] == "job_taken"), default=0)


def main() -> int:
    """Run the command."""
    arguments = parser(__doc__, data=False)
    arguments.add_argument("--studies", type=int, default=20)
    arguments.add_argument("--kills", type=int, default=30)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    return 0 if run(options.studies, options.kills, options.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
