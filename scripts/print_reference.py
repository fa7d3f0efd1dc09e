"""Print the reference pages, or the parts of them, that the code itself says.

``python scripts/print_reference.py`` writes them; ``--check`` only tells which are out of date.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import typer
from pydantic import BaseModel
from sections import table, update

from ichor.cli import app
from ichor.cli.info import notices_markdown
from ichor.detecting.bundle import Manifest
from ichor.findings import Findings
from ichor.labels import LABELS
from ichor.preparing import WINDOWS, Preparation
from ichor.reading.limits import Limits
from ichor.reading.series import RULES

_COMMAND = "python scripts/print_reference.py"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is out of date")
    return update(_pages(), check=parser.parse_args().check, command=_COMMAND)


def _pages() -> dict[str, dict[str, str] | str]:
    schema = Findings.model_json_schema(by_alias=True, mode="serialization")
    return {
        "docs/reference/notices.md": notices_markdown(),
        "docs/reference/findings.schema.json": json.dumps(schema, indent=1, ensure_ascii=False) + "\n",
        "docs/reference/findings-json.md": {"fields": _model_tables(Findings), "labels": _labels()},
        "docs/reference/bundle.md": {"fields": _model_tables(Manifest), "preparation": _preparation()},
        "docs/reference/limits.md": {"limits": _limits()},
        "docs/reference/windows.md": {"windows": _windows()},
        "docs/reference/command.md": {"commands": _commands()},
        "docs/explanation/how-the-series-is-chosen.md": {"rules": _rules()},
    }


def _labels() -> str:
    return table(
        ["key", "abbreviation", "name", "SNOMED CT", "meaning of the code"],
        [[f"`{x.name}`", x.abbreviation, x.display, x.snomed, x.snomed_meaning] for x in LABELS],
    )


def _windows() -> str:
    return table(
        ["name", "level (HU)", "width (HU)", "black at", "white at"],
        [[f"`{n}`", *(f"{v:g}" for v in (w.level, w.width, w.low, w.high))] for n, w in WINDOWS.items()],
    )


def _preparation() -> str:
    text = json.dumps(Preparation().model_dump(mode="json"), indent=2)
    short = re.sub(r"\{\s+(\"offset\".*?)\s+\}", lambda m: "{" + " ".join(m[1].split()) + "}", text, flags=re.DOTALL)
    return f"```json\n{short}\n```"


def _limits() -> str:
    meanings = _attributes(Limits)
    rows: list[list[object]] = []
    for f in dataclasses.fields(Limits):
        rows.append([f"`{f.name}`", f"{f.default:,}", meanings[f.name], f"`ICHOR_LIMIT_{f.name.upper()}`"])
    return table(["name", "default", "bounds", "variable"], rows)


def _rules() -> str:
    return table(["points", "applies where"], [[f"{points:+g}", reason] for points, reason in RULES.values()])


def _attributes(kind: type) -> dict[str, str]:
    """Return what a numpydoc ``Attributes`` section says of each name."""
    doc = inspect.getdoc(kind) or ""
    section = doc.partition("Attributes\n----------\n")[2]
    out = {}
    for names, text in re.findall(r"^(\w[\w, ]*)\n((?: {4}.*\n?)+)", section, re.MULTILINE):
        for name in names.split(", "):
            out[name] = " ".join(text.split())
    return out


def _model_tables(root: type[BaseModel]) -> str:
    """Return one table a model, the root first, then those it is made of in the order in which they appear."""
    parts = []
    for model in _models(root):
        known = _attributes(model)
        rows: list[list[object]] = []
        for name, field in model.model_fields.items():
            key = field.alias or name
            default = "" if field.is_required() else f"default `{_default(field.get_default(call_default_factory=True))}`"
            text = field.description or known.get(name, "")
            rows.append([f"`{key}`", f"`{_type(field.annotation)}`", "; ".join(x for x in (text, default) if x)])
        doc = (inspect.getdoc(model) or "").split("\n\n")[0]
        parts.append(f"### {model.__name__}\n\n{' '.join(doc.split())}\n\n" + table(["key", "type", "meaning"], rows))
    return "\n\n".join(parts)


def _models(root: type[BaseModel]) -> list[type[BaseModel]]:
    found = [root]
    for model in found:
        for field in model.model_fields.values():
            for inner in _inner(field.annotation):
                if isinstance(inner, type) and issubclass(inner, BaseModel) and inner not in found:
                    found.append(inner)
    return found


def _inner(annotation: Any) -> Iterator[Any]:
    arguments = getattr(annotation, "__args__", ())
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _inner(argument)


def _type(annotation: Any) -> str:
    """Return a type in JSON's words."""
    origin = getattr(annotation, "__origin__", None)
    arguments = getattr(annotation, "__args__", ())
    if annotation is None or annotation is type(None):
        return "null"
    simple = {str: "string", int: "integer", float: "number", bool: "boolean"}
    if annotation in simple:
        return simple[annotation]
    if not arguments:
        return str(annotation.__name__)
    if "Literal" in str(annotation).split("[")[0]:
        return " or ".join(json.dumps(a) for a in arguments)
    if origin is dict:
        return f"object of {_type(arguments[1])}"
    if origin in (list, tuple):
        inner = [_type(a) for a in arguments if a is not Ellipsis]
        return f"array of {inner[0]}" + (f" ({len(inner)})" if origin is tuple and Ellipsis not in arguments else "")
    return " or ".join(dict.fromkeys(_type(a) for a in arguments if not hasattr(a, "func")))


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "see below"
    return json.dumps(value, default=str)


def _commands() -> str:
    """Return every sub-command with its arguments and options, as the command line itself knows them."""
    root: Any = typer.main.get_command(app)
    parts = []
    for name, command in root.commands.items():
        rows: list[list[object]] = []
        words = []
        for parameter in command.params:
            argument = parameter.param_type_name == "argument"
            shown = parameter.metavar or parameter.name.upper()
            if argument:
                words.append(shown if parameter.required else f"[{shown}]")
                rows.append([f"`{shown}`", _help(parameter)])
            else:
                value = "" if parameter.is_flag else f" {parameter.metavar or _choices(parameter)}"
                rows.append([f"`{', '.join(parameter.opts)}{value}`", _help(parameter)])
        words.append("[OPTIONS]")
        rows.append(["`-h, --help`", "Show the options and end."])
        text = inspect.cleandoc(command.help or "")
        parts.append(f"### ichor {name}\n\n`ichor {name} {' '.join(words)}`\n\n{text}\n\n" + table(["", "what"], rows))
    return "\n\n".join(parts)


def _choices(parameter: Any) -> str:
    choices = getattr(parameter.type, "choices", None)
    if choices:
        return "|".join(getattr(c, "value", str(c)) for c in choices)
    return {"integer": "N", "float": "X", "path": "PATH"}.get(parameter.type.name, "TEXT")


def _help(parameter: Any) -> str:
    text = parameter.help or ""
    default = parameter.default
    if parameter.required or default in (None, False) or getattr(parameter, "is_flag", False):
        return text
    return f"{text} Default: `{getattr(default, 'value', default)}`."


if __name__ == "__main__":
    sys.exit(main())
