"""Print the reference of the API, from the description that the server gives of itself.

``python scripts/print_api.py`` writes it; ``--check`` only tells whether it is out of date. Needs the extra ``serve``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from sections import table, update

from ichor.serving.app import create_app
from ichor.serving.settings import Settings

_COMMAND = "python scripts/print_api.py"
_PAGE = "docs/reference/api.md"
_ORDER = ("studies", "uploads", "results", "verdicts", "events", "session", "server", "health")
_TITLES = {
    "studies": "Worklist",
    "uploads": "Sending studies",
    "results": "What was found, and the images",
    "verdicts": "Verdicts and their export",
    "events": "Events",
    "session": "Who is asking",
    "server": "The model and the limits",
    "health": "Health and metrics",
}
_SHOWN = (
    *("Study", "Upload", "Submitted", "Slices", "Display", "SliceRow"),
    *("VerdictPut", "Verdict", "Identity", "Problem"),
)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the page is out of date")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(state=Path(folder)))
        description = app.openapi()
        app.state.server.database.close()
    pages = {_PAGE: {"operations": _operations(description), "objects": _objects(description)}}
    return update(pages, check=options.check, command=_COMMAND)


def _operations(description: dict[str, Any]) -> str:
    groups: dict[str, list[list[object]]] = {name: [] for name in _ORDER}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            statuses = " ".join(s for s in operation["responses"])
            text = " ".join(operation["description"].split())
            rows = groups[operation["tags"][-1]]
            rows.append([f"`{method.upper()} {path}`", text, _parameters(operation), statuses])
    parts = []
    for name in _ORDER:
        heading = ["operation", "what", "query and headers", "answers"]
        parts.append(f"### {_TITLES[name]}\n\n{table(heading, groups[name])}")
    return "\n\n".join(parts)


def _parameters(operation: dict[str, Any]) -> str:
    out = []
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            continue
        what = parameter.get("description") or parameter["schema"].get("description", "")
        out.append(f"`{parameter['name']}`" + (f": {what}" if what else ""))
    return "; ".join(out)


def _objects(description: dict[str, Any]) -> str:
    parts = []
    for name in _SHOWN:
        schema = description["components"]["schemas"][name]
        rows: list[list[object]] = [
            [f"`{key}`", f"`{_kind(value)}`", value.get("description", "")]
            for key, value in schema["properties"].items()
        ]
        parts.append(f"### {name}\n\n{schema['description']}\n\n{table(['key', 'type', 'meaning'], rows)}")
    return "\n\n".join(parts)


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_kind(s) for s in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f'"{v}"' for v in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_kind(schema['items'])}"
    return str(schema.get("format") or schema.get("type") or "any")


if __name__ == "__main__":
    sys.exit(main())
