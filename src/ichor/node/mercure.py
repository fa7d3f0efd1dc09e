"""A processing module of mercure: ``python -m ichor.node.mercure``, the entry of the Dockerfile's target ``mercure``.

mercure gives a series or a study in ``MERCURE_IN_DIR`` with a ``task.json``, and sends what it finds in
``MERCURE_OUT_DIR``; ``result.json`` there is kept with the job, and its notification is shown. Needs the extra
``results``; listens to nothing and sends nothing itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ichor.detecting.bundle import require_calibrated
from ichor.detecting.combining import open_detector
from ichor.errors import IchorError, UsageError
from ichor.findings import Findings
from ichor.results import DEFAULT_KINDS, check_kinds, make_results

__all__ = ["main", "process"]

_KEYS = {"kinds", "bundle"}


def process(source: Path, target: Path) -> dict[str, Any]:
    """Assess what one folder holds; write the objects and ``result.json`` to another.

    Parameters
    ----------
    source, target
        As mercure gives them.

    Returns
    -------
    dict
        What ``result.json`` holds.

    Raises
    ------
    UsageError
        Where the settings of the task cannot be used.
    """
    settings = _settings(source)
    kinds = check_kinds(settings.get("kinds", DEFAULT_KINDS))
    detector = open_detector(settings.get("bundle", "default"))
    require_calibrated(detector.bundle)
    found: list[Findings] = []
    for number, detection in enumerate(detector.detect_all(source, isolated=True)):
        card = detector.bundle.card
        results = make_results(detection.findings, detection.exam, source, kinds, card=card)
        for made in results.objects:
            (target / f"{number:03d}-{made.kind.file}").write_bytes(made.content)
        found.append(detection.findings)
    result = {
        "findings": [findings.replace(input="series").to_dict() for findings in found],
        "__mercure_notification": {"text": _text(found), "requested": any(f.positive.any for f in found)},
    }
    (target / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return result


def _settings(source: Path) -> Mapping[str, Any]:
    try:
        task = json.loads((source / "task.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise UsageError(
            "task.json: found that it cannot be read; expected the JSON that mercure writes"
        ) from None
    settings = (task.get("process") or {}).get("settings") or {} if isinstance(task, dict) else {}
    if not isinstance(settings, dict) or settings.keys() - _KEYS:
        raise UsageError(
            f"task.json: found settings that are not known; expected any of {', '.join(sorted(_KEYS))}; "
            "correct the module's settings in mercure"
        )
    return settings


def _text(found: list[Findings]) -> str:
    suspected = [f for f in found if f.positive.any]
    if suspected:
        probability = max(f.probabilities.any or 0.0 for f in suspected)
        return f"ichor: suspected intracranial hemorrhage (probability {probability:.2f}); research use"
    if any(f.assessable for f in found):
        return "ichor: no hemorrhage detected, which excludes nothing; research use"
    return "ichor: not assessed; research use"


def main() -> int:
    """Run the module; 0 where it ran, whatever was found."""
    folders = [os.environ.get(name, "") for name in ("MERCURE_IN_DIR", "MERCURE_OUT_DIR")]
    if not all(folders):
        print(
            "ichor: found no MERCURE_IN_DIR and MERCURE_OUT_DIR; expected mercure to set them",
            file=sys.stderr,
        )
        return 2
    try:
        process(Path(folders[0]), Path(folders[1]))
    except IchorError as error:
        print(f"ichor: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"ichor: found that a file cannot be read or written ({error.strerror or type(error).__name__}); expected "
            "a MERCURE_IN_DIR that can be read and a MERCURE_OUT_DIR that can be written",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
