"""A Ray cluster as the pool: one task a study, on one core; nothing of Ray's is on that speaks to anyone else.

Ray's ports listen on all addresses, and whoever reaches them with the token runs code: a cluster without a token is
refused, and docs/how-to/bulk-on-a-cluster.md has what else keeps others out.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ichor.bulk.assessing import Task
from ichor.bulk.pools import Outcome
from ichor.bulk.schema import check_installed
from ichor.bulk.work import Worker, WorkerSettings, open_worker
from ichor.errors import IchorError, UsageError

__all__ = ["RayPool", "assess"]

_MEMORY = 1 << 30
"""Bytes that a task is planned with."""
_BACKLOG = 2
"""Tasks that wait in the cluster beyond those that run, so that no core waits for the driver."""
_LOOK_EVERY_S = 2.0
_PROBE_S = 60.0
_PING_MS, _PING_TIMEOUT_MS = 60_000, 20_000
"""How often this process asks a machine that has one of its tasks whether it is there, and how long it waits for that.

Ray's own 5 and 2 minutes let a machine that is cut off hold up the end of a run. Its servers take pings once a minute
and end the connection of whoever sends more: a shorter time needs the same setting on every machine.
"""
_PROBE = (
    "import sys; from ray._raylet import GcsClient; "
    "GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10)"
)
"""Succeeds where the cluster answers."""
_workers: dict[str, Worker] = {}


def assess(settings: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    """Do a task, in a process of the cluster; what it has loaded stays for the next one.

    Returns
    -------
    dict
        ``rows``, or ``unusable`` with a sentence where this machine cannot do any.
    """
    key = json.dumps(settings, sort_keys=True)
    if key not in _workers:
        os.environ["ICHOR_THREADS"] = "1"
        try:
            _workers[key] = open_worker(settings)
        except IchorError as error:
            return {"unusable": str(error)}
    return {"rows": _workers[key].rows(Task.from_json(task))}


class RayPool:
    """Tasks on a cluster.

    Parameters
    ----------
    address
        ``HOST:PORT`` of the cluster's head; this machine must be one of the cluster.
    settings
        What each task is given.
    token
        File with the cluster's token; None where ``RAY_AUTH_TOKEN_PATH`` or ``RAY_AUTH_TOKEN`` gives it.

    Raises
    ------
    UsageError
        Where Ray is not installed, there is no token, the cluster asks for none, or it cannot be reached.
    """

    def __init__(self, address: str, settings: WorkerSettings, token: Path | None = None) -> None:
        check_installed("ray")
        _prepare(token)
        if _admits(address, token=False):
            raise UsageError(
                f"--address {address}: found a cluster that asks for no token; expected one that does, as whoever "
                "reaches it runs code on every machine; start it with RAY_AUTH_MODE=token "
                "(docs/how-to/bulk-on-a-cluster.md)"
            )
        if not _admits(address, token=True):
            raise _unreachable(address, "no cluster that answers to this token")
        import ray

        self._ray = ray
        self._settings = settings.as_json()
        self._running: dict[Any, Task] = {}
        self._looked = self._cores = 0.0
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error", configure_logging=False)
        except Exception as error:  # Ray's own have no common base
            raise _unreachable(
                address, f"a cluster that this machine cannot join ({type(error).__name__})"
            ) from None
        self._assess = ray.remote(num_cpus=1, memory=_MEMORY, max_retries=0)(assess)

    @property
    def free(self) -> int:
        """How many more tasks it takes now; machines may come and go."""
        if time.monotonic() - self._looked > _LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._cores = self._ray.cluster_resources().get("CPU", 0.0)
        return int(self._cores) + _BACKLOG - len(self._running) if self._cores else 0

    def submit(self, task: Task) -> None:
        """Give a task to the cluster."""
        self._running[self._assess.remote(self._settings, task.as_json())] = task

    def wait(self, seconds: float) -> list[Outcome]:
        """Wait for tasks to end.

        Raises
        ------
        UsageError
            Where a machine of the cluster cannot assess anything.
        """
        if not self._running:
            time.sleep(seconds)
            return []
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return [self._outcome(one, self._running.pop(one)) for one in ready]

    def close(self, seconds: float) -> list[Outcome]:
        """Give what is ready, end the rest, and leave the cluster."""
        found = []
        ready: list[Any] = []
        if self._running:
            ready, running = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
            for one in running:
                self._ray.cancel(one, force=True)
        for one in ready:
            found.append(self._outcome(one, self._running.pop(one)))
        self._ray.shutdown()
        return [one for one in found if one.end == "done"]

    def _outcome(self, reference: Any, task: Task) -> Outcome:
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(reference)
        except (errors.WorkerCrashedError, errors.OutOfMemoryError):
            return Outcome(task, "died")
        except errors.RayTaskError as error:
            raise UsageError(
                f"bulk: found a machine of the cluster that cannot begin ({type(error.cause).__name__}); expected "
                "the same ichor and the same packages everywhere; install them"
            ) from None
        except errors.RayError:  # the machine, or what it gave, is gone
            return Outcome(task, "lost")
        if "unusable" in answer:
            raise UsageError(str(answer["unusable"]))
        return Outcome(task, "done", answer["rows"])


def _prepare(token: Path | None) -> None:
    """Set what Ray reads when it is loaded.

    Raises
    ------
    UsageError
        Where there is no token, or one that others may read.
    """
    if token is not None:
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token.absolute())
        os.environ.pop("RAY_AUTH_TOKEN", None)
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    if not path and not os.environ.get("RAY_AUTH_TOKEN"):
        raise UsageError(
            "bulk: found no token for the cluster; expected --token FILE, or RAY_AUTH_TOKEN_PATH; give the file that "
            "the cluster was started with"
        )
    if path:
        try:
            mode = Path(path).stat().st_mode
        except OSError as error:
            raise UsageError(
                f"{path}: found no token that can be read ({error.strerror}); expected the cluster's; check the path"
            ) from None
        if os.name != "nt" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UsageError(
                f"{path}: found a token that others may read; expected a file of its owner alone; chmod 600 it"
            )
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
    }
    os.environ.setdefault("RAY_grpc_client_keepalive_time_ms", str(_PING_MS))
    os.environ.setdefault("RAY_grpc_client_keepalive_timeout_ms", str(_PING_TIMEOUT_MS))


def _unreachable(address: str, found: str) -> UsageError:
    return UsageError(
        f"--address {address}: found {found}; expected the address of a head that was started with the same token, and "
        "ray start --address on this machine; check them"
    )


def _admits(address: str, *, token: bool) -> bool:
    """Try the cluster with or without the token, in a process of its own: Ray holds one mode for a whole process."""
    environment = dict(os.environ)
    if not token:
        environment["RAY_AUTH_MODE"] = "disabled"
        for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            environment.pop(name, None)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _PROBE, address],
            env=environment,
            capture_output=True,
            timeout=_PROBE_S,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
