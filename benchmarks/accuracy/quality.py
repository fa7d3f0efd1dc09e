"""Does the check of quality tell heads from everything else? How many of each kind of input it accepts.

Usage: python -m benchmarks.accuracy.quality [--data DIR] [--photographs DIR] [--only GROUP]

The headers of the DICOM files are ignored on purpose: the pixels alone must tell.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.shared.arguments import parser
from benchmarks.shared.cases import (
    HEAD,
    Cases,
    dicom_exams,
    made_up_exams,
    made_up_pictures,
    picture_files,
    slices_as_pictures,
)
from benchmarks.shared.tables import heading, row
from ichor.datasets.ct_ich import CtIch
from ichor.datasets.phe_sich import PheSich
from ichor.detecting.quality import assess
from ichor.preparing import Preparation, prepare

Group = tuple[bool, Callable[[], Cases]]
"""Whether its cases should be accepted, and the cases."""
_OTHERS = ("abdomen", "transfer_syntaxes_chest", "philips_phantom", "mr")
_WINDOWS = ((40, 80), (40, 380), (60, 350))
_MOST_NAMED = 12


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--photographs", type=Path, help="a folder of ordinary photographs")
    arguments.add_argument("--only", action="append", help="this group alone; may repeat")
    options = arguments.parse_args()
    heading("group", "should be", "n", "accepted", "refused", "wrong", "notices", "ms each")
    for name, (acceptable, cases) in groups(options.data, options.photographs).items():
        if not options.only or name in options.only:
            measure(name, acceptable, cases())


def groups(data: Path, photographs: Path | None) -> dict[str, Group]:
    """Return the kinds of input by name."""
    odd = data / "dicom-oddities"

    def folder(name: str) -> Callable[[], Cases]:
        return lambda: dicom_exams(odd / name)

    found: dict[str, Group] = {
        "ct-ich": (True, lambda: ((i.patient, i.exam) for i in CtIch(data / "ct-ich"))),
        "phe-sich": (True, lambda: ((i.patient, i.exam) for i in PheSich(data / "phe-sich"))),
        "cq500": (True, lambda: dicom_exams(data / "cq500" / "CQ500-CT-0")),
        "ge_head": (True, folder("ge_head_tilt_varspacing")),
        HEAD: (True, lambda: dicom_exams(odd / "transfer_syntaxes_chest", heads=True)),
        "head-pictures": (True, lambda: picture_files(data / "head-ct-hemorrhage" / "head_ct")),
        **{name: (False, folder(name)) for name in (*_OTHERS, "wg04_ct")},
        "made-up-exams": (False, made_up_exams),
        "made-up-pictures": (False, made_up_pictures),
        "body-pictures": (
            False,
            lambda: (
                case
                for name in _OTHERS
                for level, width in _WINDOWS
                for case in slices_as_pictures(dicom_exams(odd / name), level, width)
            ),
        ),
    }
    if photographs is not None:
        found["photographs"] = (False, lambda: picture_files(photographs))
    return found


def measure(group: str, acceptable: bool, cases: Cases) -> None:
    """Print one group's row."""
    n, accepted, spent = 0, 0, 0.0
    wrong: list[str] = []
    codes: Counter[str] = Counter()
    for name, subject in cases:
        prepared = prepare(subject, Preparation())
        began = time.perf_counter()
        notices = assess(subject, prepared)
        spent += time.perf_counter() - began
        good = not any(x.decision == "refuse" for x in notices)
        n, accepted = n + 1, accepted + good
        if good != acceptable:
            wrong.append(name)
        codes.update({x.code for x in notices})
    noticed = ", ".join(f"{code} {k}" for code, k in codes.items())
    verdict = "accepted" if acceptable else "refused"
    each = round(1000 * spent / max(n, 1))
    row(group, verdict, n, accepted, n - accepted, ", ".join(wrong[:_MOST_NAMED]), noticed, each)


if __name__ == "__main__":
    main()
