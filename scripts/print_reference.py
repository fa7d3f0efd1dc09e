"""Print the reference pages, or the parts of them, that the code itself says.

``python scripts/print_reference.py`` writes them; ``--check`` only tells which are out of date.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import itertools
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

from meanings import MEANINGS
from pydantic import BaseModel
from sections import table, update
from typer.models import ArgumentInfo

from ichor.bulk.schema import COLUMNS
from ichor.cli import app
from ichor.cli.info import notices_markdown
from ichor.datasets.registry import DATASETS
from ichor.detecting.manifest import Manifest
from ichor.findings import Findings
from ichor.labels import LABELS
from ichor.node.config import NodeConfig
from ichor.preparing import WINDOWS, Preparation
from ichor.reading.dicom.series import RULES
from ichor.reading.limits import Limits
from ichor.results.codes import CODES, LABEL_SOURCES, PRIVATE_SCHEME
from ichor.results.kinds import KINDS

_COMMAND = "python scripts/print_reference.py"
_used: set[str] = set()


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where a page is out of date")
    options = parser.parse_args()
    pages = _pages()
    if unused := MEANINGS.keys() - _used:
        raise SystemExit(f"scripts/meanings.py: found {sorted(unused)}; expected only keys in need of one")
    return update(pages, check=options.check, command=_COMMAND)


def _pages() -> dict[str, dict[str, str] | str]:
    schema = Findings.model_json_schema(by_alias=True, mode="serialization")
    return {
        "docs/reference/notices.md": notices_markdown(),
        "docs/reference/findings.schema.json": json.dumps(schema, indent=1, ensure_ascii=False) + "\n",
        "docs/reference/findings-json.md": {"fields": _model_tables(Findings), "labels": _labels()},
        "docs/reference/bundle.md": {"fields": _model_tables(Manifest), "preparation": _preparation()},
        "docs/reference/bulk.md": {"columns": _columns()},
        "docs/reference/node.md": {"fields": _model_tables(NodeConfig)},
        "docs/reference/dicom-results.md": {"objects": _results(), "codes": _codes()},
        "docs/reference/limits.md": {"limits": _limits()},
        "docs/reference/windows.md": {"windows": _windows()},
        "docs/reference/command.md": {"commands": _commands()},
        "docs/how-to/get-the-data.md": {"data-sets": data_sets()},
        "docs/explanation/how-the-series-is-chosen.md": {"rules": _rules()},
    }


def data_sets() -> str:
    """Return the table of data sets, a row for each form that one may have on a disk."""
    rows: list[list[object]] = [
        [f"`{name}`", form.info.content, form.info.labels, form.info.access, form.info.licence]
        for name, forms in DATASETS.items()
        for form in forms
    ]
    return table(["name, sub-folder", "what", "labels", "obtain", "licence"], rows)


def _labels() -> str:
    return table(
        ["key", "abbreviation", "name", "SNOMED CT", "meaning of the code"],
        [[f"`{x.name}`", x.abbreviation, x.display, x.snomed, x.snomed_meaning] for x in LABELS],
    )


def _results() -> str:
    rows: list[list[object]] = [
        [f"`{k.name}`", k.words, f"`{k.sop_class}`", k.modality, k.series_number, k.description]
        for k in KINDS.values()
    ]
    return table(["kind", "what", "SOP class", "modality", "series number", "series description"], rows)


def _codes() -> str:
    rows: list[list[object]] = [
        [f"{label.display.lower()}", label.snomed, "SCT", label.snomed_meaning, LABEL_SOURCES[label.name]]
        for label in LABELS
    ]
    rows += [[c.use, c.value, c.scheme, c.meaning, c.source] for c in CODES.values()]
    rows.append(["a notice on the input", "its code", PRIVATE_SCHEME, "the code in words", "notices.md"])
    return table(["use", "code", "scheme", "meaning", "confirmed in"], rows)


def _columns() -> str:
    rows: list[list[object]] = [
        [f"`{c.name}`", c.type, "never null" if c.required else "", c.meaning] for c in COLUMNS
    ]
    return table(["column", "type", "", "meaning"], rows)


def _windows() -> str:
    return table(
        ["name", "level (HU)", "width (HU)", "black at", "white at"],
        [[f"`{n}`", *(f"{v:g}" for v in (w.level, w.width, w.low, w.high))] for n, w in WINDOWS.items()],
    )


def _preparation() -> str:
    text = json.dumps(Preparation().model_dump(mode="json"), indent=2)
    channel = re.compile(r"\{\s+(\"offset\".*?)\s+\}", re.DOTALL)
    short = channel.sub(lambda m: "{" + " ".join(m[1].split()) + "}", text)
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
    """Return what the code says of each attribute: in a numpydoc section, or in a text below it."""
    doc = inspect.getdoc(kind) or ""
    section = doc.partition("Attributes\n----------\n")[2]
    out = {}
    for names, text in re.findall(r"^(\w[\w, ]*)\n((?: {4}.*\n?)+)", section, re.MULTILINE):
        for name in names.split(", "):
            out[name] = " ".join(text.split())
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    for statement, below in itertools.pairwise(body):
        texts = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if texts and isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            out[statement.target.id] = " ".join(str(below.value.value).split())
    return out


def _model_tables(root: type[BaseModel]) -> str:
    """Return one table a model, the root first, then those it is made of as they appear."""
    parts = []
    for model in _models(root):
        known = _attributes(model)
        rows: list[list[object]] = []
        for name, field in model.model_fields.items():
            key = field.serialization_alias or name
            default = "" if field.is_required() else _default(field.get_default(call_default_factory=True))
            text = field.description or known.get(name) or _meaning_of(f"{model.__name__}.{key}")
            words = "; ".join(x for x in (text.rstrip("."), default) if x)
            rows.append([f"`{key}`", f"`{_type(field.annotation)}`", words])
        doc = " ".join((inspect.getdoc(model) or "").split("\n\n")[0].split()).replace("``", "`")
        parts.append(f"### {model.__name__}\n\n{doc}\n\n" + table(["key", "type", "meaning"], rows))
    return "\n\n".join(parts)


def _meaning_of(key: str) -> str:
    found = key if key in MEANINGS else f"{key.partition('.')[0]}.*"
    if found not in MEANINGS:
        raise SystemExit(f"scripts/meanings.py: found nothing about {key}; expected its meaning there")
    _used.add(found)
    return MEANINGS[found]


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
        size = f" ({len(inner)})" if origin is tuple and Ellipsis not in arguments else ""
        return f"array of {inner[0]}{size}"
    return " or ".join(dict.fromkeys(_type(a) for a in arguments if not hasattr(a, "func")))


def _default(value: Any) -> str:
    if isinstance(value, BaseModel) or (isinstance(value, tuple) and value):
        return "has a default, below"
    return f"default `{json.dumps(value)}`"


def _commands() -> str:
    """Return every sub-command with its arguments and options, from the signatures that typer reads."""
    parts = []
    commands = [("", command) for command in app.registered_commands]
    for group in app.registered_groups:
        members = group.typer_instance.registered_commands if group.typer_instance else []
        commands += [(f"{group.name} ", command) for command in members]
    for prefix, command in commands:
        function: Any = command.callback
        name = prefix + (command.name or function.__name__)
        hints = get_type_hints(function, include_extras=True)
        words: list[str] = []
        rows: list[list[object]] = []
        for parameter in inspect.signature(function).parameters.values():
            kind, info = get_args(hints[parameter.name])
            required = parameter.default is parameter.empty
            if isinstance(info, ArgumentInfo):
                shown = info.metavar or parameter.name.upper()
                words.append(shown if required else f"[{shown}]")
            else:
                # typer takes the first name for a default until it builds the command.
                names = [n for n in (info.default, *(info.param_decls or ())) if str(n).startswith("-")]
                flags = ", ".join(names or [f"--{parameter.name.replace('_', '-')}"])
                shown = flags if kind is bool or info.count else f"{flags} {info.metavar or _metavar(kind)}"
            rows.append([f"`{shown}`", _meaning(info, None if required else parameter.default)])
        words.append("[OPTIONS]")
        rows.append(["`-h, --help`", "Show the options and end."])
        text = inspect.getdoc(function) or ""
        usage = f"`ichor {name} {' '.join(words)}`"
        parts.append(f"### ichor {name}\n\n{usage}\n\n{text}\n\n" + table(["", "what"], rows))
    return "\n\n".join(parts)


def _metavar(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(choice.value) for choice in kind)
    plain = [k for k in get_args(kind) or [kind] if k is not type(None)]
    return {int: "N", float: "X", Path: "PATH"}.get(plain[0], "TEXT")


def _meaning(info: Any, default: Any) -> str:
    text = info.help or ""
    if default is None or isinstance(default, bool) or getattr(info, "count", False):
        return text
    return f"{text} Default: `{getattr(default, 'value', default)}`."


if __name__ == "__main__":
    sys.exit(main())
