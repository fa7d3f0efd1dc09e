"""Units in an archive that speaks DICOMweb: found by QIDO-RS, fetched by WADO-RS."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ichor.bulk.schema import check_installed
from ichor.bulk.units import Unit, fingerprint_of, study_id
from ichor.errors import UsageError
from ichor.uids import hashed_uid

__all__ = ["SCHEME", "TOKEN", "WebSource"]

SCHEME = "dicomweb+"
TOKEN = "ICHOR_DICOMWEB_TOKEN"
"""Environment variable with a bearer token, where the archive asks for one."""
_PAGE = 100
_STUDY, _MODALITIES, _INSTANCES = "0020000D", "00080061", "00201208"


class WebSource:
    """Every study of an archive that may hold CT.

    Parameters
    ----------
    address
        ``dicomweb+https://host/path`` (or ``dicomweb+http://`` on a trusted network).

    Raises
    ------
    UsageError
        Where the extra is missing, or the address names credentials.
    """

    def __init__(self, address: str) -> None:
        check_installed("dicomweb_client")
        from dicomweb_client import DICOMwebClient

        self.address = address
        url = address.removeprefix(SCHEME)
        if "@" in url.partition("://")[2].partition("/")[0]:
            raise UsageError(
                f"bulk: found credentials in the address of an archive; expected a token in {TOKEN}; leave them out"
            )
        token = os.environ.get(TOKEN, "")
        headers = {"Authorization": f"Bearer {token}"} if token else None
        self._client = DICOMwebClient(url=url, headers=headers)
        self._left_out: Counter[str] = Counter()

    @property
    def left_out(self) -> dict[str, int]:
        """Studies that are in no unit so far, by why."""
        return dict(+self._left_out)

    def discover(self) -> Iterator[Unit]:
        """Yield studies, page by page; an archive that gives no pages gives all at once."""
        self._left_out = Counter()
        known: set[str] = set()
        while True:
            found = self._client.search_for_studies(
                limit=_PAGE, offset=len(known), fields=["ModalitiesInStudy", "NumberOfStudyRelatedInstances"]
            )
            new = {uid: study for study in found if (uid := str(_value(study, _STUDY))) not in known}
            for uid, study in new.items():
                known.add(uid)
                modalities = study.get(_MODALITIES, {}).get("Value") or ["CT"]
                if "CT" not in modalities:
                    self._left_out["studies without CT"] += 1
                    continue
                instances = int(_value(study, _INSTANCES) or 0)
                yield Unit(
                    study_id("study", uid), hashed_uid(uid), (uid,), fingerprint_of([(uid, instances)])
                )
            if len(found) < _PAGE or not new:
                return

    def fetch(self, unit: Unit, folder: Path) -> Path:
        """Download the instances of a study, one file each, under names of our own."""
        (uid,) = unit.places
        for number, instance in enumerate(self._client.iter_study(uid)):
            instance.save_as(folder / f"{number:06d}.dcm", enforce_file_format=True)
        return folder


def _value(study: dict[str, Any], tag: str) -> Any:
    values = study.get(tag, {}).get("Value") or [""]
    return values[0]
