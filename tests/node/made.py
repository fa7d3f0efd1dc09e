"""Findings for the tests of what leaves the node."""

from __future__ import annotations

from ichor.findings import BundleReference, Findings, LabelFlags, LabelValues


def findings(
    p: float, *, positive: bool, uncertain: bool | None = None, volume: float | None = None
) -> Findings:
    values = dict.fromkeys(
        ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"), p / 2
    )
    return Findings(
        input="study X",
        kind="exam",
        n_slices=30,
        probabilities=LabelValues(any=p, **values),
        thresholds=LabelValues(any=0.5),
        positive=LabelFlags(any=positive),
        uncertain=uncertain,
        volume_ml=volume,
        assessable=True,
        bundle=BundleReference(name="b", version="1", sha256="0" * 64),
    )
