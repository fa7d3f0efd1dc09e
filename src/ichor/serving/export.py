"""Readers' verdicts as a table, and with the images as a data set that ichor reads."""

from __future__ import annotations

import csv
import io
import unicodedata
import zipfile
from collections.abc import Iterator
from typing import Any

from ichor.jobs.storage import Storage
from ichor.jobs.tables import Study, Verdict
from ichor.labels import LABEL_NAMES
from ichor.serving.schemas import utc
from ichor.serving.worklist import Worklist
from ichor.uids import hashed_uid

__all__ = ["labels_of", "stream_dataset", "verdicts_csv"]

_CHUNK = 1 << 20
_README = """Readers' verdicts on studies in ichor's worklist.

Check it with: ichor data check csv:labels.csv; then use it as --dataset csv:labels.csv.
labels.csv has a row a study: 1, 0, or empty where the reader left it open. verdicts.csv has all verdicts.
An exam is the volume as it was shown: tilt undone, rows and columns upright. Research use, not a medical device.
"""


def labels_of(study: Study, verdict: Verdict) -> dict[str, int | None]:
    """Return what a verdict says of each label; None for nothing.

    What the reader marked goes first. Else to agree means: as the model has it for any hemorrhage, and of the subtypes
    that it called; to disagree means: the opposite of that for any hemorrhage. Without any there is no subtype.
    """
    labels: dict[str, int | None] = dict.fromkeys(LABEL_NAMES)
    marked = verdict.labels or {}
    if marked:
        labels |= {name: int(value) for name, value in marked.items() if name in labels}
        subtypes = [labels[name] for name in LABEL_NAMES[1:]]
        if 1 in subtypes:
            labels["any"] = 1
        elif labels["any"] is None and all(v == 0 for v in subtypes):
            labels["any"] = 0
    elif study.positive is not None:
        model = bool(study.positive.get("any"))
        labels["any"] = int(model if verdict.verdict == "agree" else not model)
        if verdict.verdict == "agree":
            labels |= {name: 1 for name in LABEL_NAMES[1:] if study.positive.get(name)}
    if labels["any"] == 0:
        labels = dict.fromkeys(LABEL_NAMES, 0)
    return labels


def verdicts_csv(worklist: Worklist) -> str:
    """Return all verdicts as CSV."""
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    model = [f"model_{name}" for name in LABEL_NAMES]
    rows.writerow(
        ["study", "label", "kind", "reader", "at", "verdict", *LABEL_NAMES, *model, "model_flagged", "note"]
    )
    for study, verdict in worklist.verdicts():
        labels = labels_of(study, verdict)
        model_values = study.probabilities or {}
        at = utc(verdict.at)
        rows.writerow(
            [
                study.id,
                _text(study.alias or study.label),
                study.kind or "",
                _text(verdict.reader),
                at.isoformat() if at else "",
                verdict.verdict,
                *(_number(labels[name]) for name in LABEL_NAMES),
                *(_number(model_values.get(name)) for name in LABEL_NAMES),
                int(study.flagged),
                _text(verdict.note),
            ]
        )
    return stream.getvalue()


def stream_dataset(worklist: Worklist, storage: Storage) -> Iterator[bytes]:
    """Give a zip of images and labels, piece by piece: nothing of it is kept on the disk."""
    sink = _Sink()
    last: dict[str, tuple[Study, Verdict]] = {s.id: (s, v) for s, v in worklist.verdicts()}
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["path", "patient", *LABEL_NAMES])
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for study, verdict in last.values():
            name = "picture.png" if study.kind == "picture" else "volume.nii.gz"
            source = storage.study(study.id) / name
            labels = labels_of(study, verdict)
            if labels["any"] is None or not source.is_file():
                continue
            path = f"images/{study.id}.{name.partition('.')[2]}"
            # Exams of one study are one patient's; what has no study stands alone.
            patient = hashed_uid(study.study_uid)[-12:] if study.study_uid else study.id[:12]
            rows.writerow([path, f"p{patient}", *(_number(labels[n]) for n in LABEL_NAMES)])
            try:
                with (
                    source.open("rb") as file,
                    archive.open(zipfile.ZipInfo(path), "w", force_zip64=True) as entry,
                ):
                    while chunk := file.read(_CHUNK):
                        entry.write(chunk)
                        yield sink.taken()
            except FileNotFoundError:
                continue
        for text, path in (
            (table.getvalue(), "labels.csv"),
            (verdicts_csv(worklist), "verdicts.csv"),
            (_README, "README.txt"),
        ):
            archive.writestr(path, text)
        yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """A file that can only be written to, and is emptied from the other end."""

    def __init__(self) -> None:
        super().__init__()
        self._content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content: Any, /) -> int:
        self._content += content
        return len(content)

    def taken(self) -> bytes:
        """Return what was written since."""
        content = bytes(self._content)
        self._content.clear()
        return content


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _text(value: str) -> str:
    """Keep a spreadsheet from taking a reader's words for a formula, whatever white space stands before them."""
    seen = (c for c in value if unicodedata.category(c)[0] not in "ZC")
    first = unicodedata.normalize("NFKC", next(seen, ""))
    formula = first != "" and first in "=+-@"
    return f"'{value}" if formula or value[:1] in ("\t", "\r", "\n") else value
