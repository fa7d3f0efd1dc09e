"""``ichor node --dry-run``: what a configuration would do, in words."""

from __future__ import annotations

from typing import Any

from ichor.node.config import NodeConfig, Rule
from ichor.node.destinations import DicomDestination, StowDestination, UpsDestination

__all__ = ["described"]


def described(config: NodeConfig) -> str:
    """Return the lines that are printed."""
    listen, done, retrying = config.listen, config.completion, config.retrying
    tls = "mutual TLS" if listen.tls else "no TLS"
    lines = [
        f"Listens as {', '.join(config.ae_titles)} at {listen.host}:{listen.port} ({tls}).",
        f"Page and API at {config.page.host}:{config.page.port}.",
        *[
            f"Takes studies from {p.ae_title} at {', '.join(p.addresses)}"
            + (", which may ask for the worklist." if p.worklist else ".")
            for p in config.peers
        ],
        *([] if config.peers else ["Takes studies from nobody: no peer is allowed."]),
        *([f"Takes files that appear in {listen.watch}, and removes them there."] if listen.watch else []),
        *[f"Fetches stable studies of {s.name} at {s.url}." for s in config.sources],
        f"A study is complete {done.quiet_seconds:g} s after its last file; what comes later assesses it once more.",
        "It is sooner complete where its scanner's MPPS is completed and all images that it lists are here.",
        *_asked(config),
        *_rules(config.rules),
        *[_destination(d) for d in config.destinations],
        *([] if config.destinations else ["Sends results nowhere: no destination is configured."]),
        f"Tries a delivery for {retrying.days:g} days; removes files {done.keep_hours:g} hours after they came, "
        "once they are delivered.",
    ]
    return "\n".join(lines)


def _asked(config: NodeConfig) -> list[str]:
    archive = config.completion.archive
    if archive is None:
        return []
    return [
        f"Or where as many are here as {archive.ae_title} at {archive.host}:{archive.port} says that it has."
    ]


def _rules(rules: list[Rule]) -> list[str]:
    if not rules:
        return ["Assesses every CT; counts and drops the rest."]
    out = []
    for number, rule in enumerate(rules, start=1):
        named = [
            f"{name.replace('_', ' ')} like {value}"
            for name in ("called", "station", "description", "body_part")
            if (value := getattr(rule, name)) != "*"
        ]
        action = {"detect": "assess", "forward": f"forward to {rule.to}", "drop": "drop"}[rule.action]
        out.append(f"Rule {number}: {action} series with {' and '.join(named) or 'anything'}.")
    return [*out, "What no rule fits is counted and dropped."]


def _destination(destination: Any) -> str:
    name = destination.name
    if isinstance(destination, DicomDestination):
        where = f"{destination.ae_title} at {destination.host}:{destination.port}"
        if not destination.results:
            return f"Destination {name}: {where}, for forwarded series alone."
        asked = ", and asks for storage commitment" if destination.commitment else ""
        return f"Destination {name}: sends {', '.join(destination.kinds)} to {where}{asked}."
    if isinstance(destination, StowDestination):
        kinds = ", ".join(destination.kinds) if destination.results else "forwarded series alone"
        return f"Destination {name}: sends {kinds} to {destination.url} by STOW-RS."
    if isinstance(destination, UpsDestination):
        where = f"{destination.ae_title} at {destination.host}:{destination.port}"
        return f"Destination {name}: has {where} make a procedure step for each study, HIGH where suspected."
    if destination.type == "hl7":
        return f"Destination {name}: sends ORU^R01 to {destination.host}:{destination.port}."
    if destination.type == "fhir":
        return (
            f"Destination {name}: sends DiagnosticReport, Observation and ImagingStudy to {destination.url}."
        )
    return f"Destination {name}: posts findings JSON to {destination.url}."
