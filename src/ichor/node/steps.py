"""Modality Performed Procedure Steps: a scanner says when it is done, and which images it made (PS3.4 F)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from ichor.node.spool import Spool, hashed, is_usable_uid, load_json, write_json
from ichor.reading.dicom.dataset import quiet_pydicom

__all__ = ["Steps"]

_SUCCESS = 0x0000
_INVALID_VALUE, _NO_LONGER_UPDATED, _DUPLICATE, _NO_SUCH = 0x0106, 0x0110, 0x0111, 0x0112
_INVALID_INSTANCE, _MISSING, _RESOURCES = 0x0117, 0x0120, 0x0213
_STATES = ("IN PROGRESS", "COMPLETED", "DISCONTINUED")
_MOST_STEPS = 20_000
_IMAGES = ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence")


class Steps:
    """The steps that scanners told of, one file each, named by a hash; they hold hashes alone.

    Parameters
    ----------
    spool
        Below which they lie.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._read: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}

    # -- what scanners say -----------------------------------------------------------------------------

    def create(self, uid: str, values: Dataset) -> int:
        """Take an N-CREATE; returns the status of the answer."""
        if not is_usable_uid(uid):
            return _INVALID_INSTANCE
        if self._path(uid).exists():
            return _DUPLICATE
        with quiet_pydicom():
            scheduled = values.get("ScheduledStepAttributesSequence") or []
            studies = [str(item.get("StudyInstanceUID", "") or "") for item in scheduled]
            state = str(values.get("PerformedProcedureStepStatus", "") or "")
        if not any(is_usable_uid(study) for study in studies):
            return _MISSING
        if state != "IN PROGRESS":
            return _INVALID_VALUE
        if sum(1 for _ in self.spool.steps.iterdir()) >= _MOST_STEPS:
            return _RESOURCES
        named = [hashed(study) for study in studies if is_usable_uid(study)]
        write_json(self._path(uid), {"studies": named, "state": state, "files": []})
        return _SUCCESS

    def change(self, uid: str, values: Dataset) -> int:
        """Take an N-SET; returns the status of the answer."""
        step = load_json(self._path(uid))
        if step is None:
            return _NO_SUCH
        if step["state"] != "IN PROGRESS":
            return _NO_LONGER_UPDATED
        with quiet_pydicom():
            state = str(values.get("PerformedProcedureStepStatus", "") or step["state"])
            series = values.get("PerformedSeriesSequence")
            listed = [
                str(item.get("ReferencedSOPInstanceUID", "") or "")
                for one in series or []
                for keyword in _IMAGES
                for item in one.get(keyword) or []
            ]
        if state not in _STATES:
            return _INVALID_VALUE
        files = sorted({hashed(instance) for instance in listed}) if series is not None else step["files"]
        write_json(self._path(uid), {**step, "state": state, "files": files})
        return _SUCCESS

    # -- what follows from it --------------------------------------------------------------------------

    def complete(self, studies: Sequence[str]) -> set[str]:
        """Return which studies are whole: all their steps are completed, and each image that these list is there.

        Parameters
        ----------
        studies
            As the spool names them.
        """
        of_study: dict[str, list[dict[str, Any]]] = {study: [] for study in studies}
        for _, step in self._steps():
            for study in step["studies"]:
                if study in of_study and not step.get("used"):
                    of_study[study].append(step)
        return {study for study, steps in of_study.items() if steps and all(map(self._is_whole, steps))}

    def use(self, study: str) -> None:
        """Note that a study was taken: its steps that are whole say nothing of what comes later."""
        for path, step in self._steps():
            if study in step["studies"] and not step.get("used") and self._is_whole(step):
                write_json(path, {**step, "used": True})

    def purge(self, before: float) -> None:
        """Remove steps of which nothing was heard since a moment, in seconds since 1970."""
        for path in self.spool.steps.glob("*.json"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)

    def _is_whole(self, step: dict[str, Any]) -> bool:
        if step["state"] != "COMPLETED" or not step["files"]:
            return False
        present = {name for study in step["studies"] for name in self.spool.instances(study)}
        return present >= set(step["files"])

    def _steps(self) -> list[tuple[Path, dict[str, Any]]]:
        """Read what changed, and keep the rest."""
        read: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}
        for path in self.spool.steps.glob("*.json"):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            changed = found.st_ino, found.st_mtime_ns
            known = self._read.get(path)
            step = known[1] if known is not None and known[0] == changed else load_json(path)
            if step is not None:
                read[path] = changed, step
        self._read = read
        return [(path, step) for path, (_, step) in read.items()]

    def _path(self, uid: str) -> Path:
        return self.spool.steps / f"{hashed(uid)}.json"
