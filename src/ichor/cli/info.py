"""``ichor info``: version, model, where it can run, limits, notices."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ichor.notices import NOTICES

if TYPE_CHECKING:
    from ichor.detecting.bundle import Bundle

__all__ = ["info", "notices_markdown"]

_DECISIONS = {"go_on": "go on", "leave_out": "leave out", "refuse": "refuse"}


def info(
    bundle: Annotated[str, typer.Option(metavar="NAME|PATH", help="The model to describe.")] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    card: Annotated[
        bool,
        typer.Option("--card", help="The model's card besides: what it learned from, what was measured."),
    ] = False,
    notices: Annotated[
        bool,
        typer.Option("--notices", help="Print every notice code, its decision and its meaning (Markdown)."),
    ] = False,
) -> None:
    """Tell the version, the model, the ONNX Runtime providers and the limits; with --card, the model's card."""
    if notices:
        print(notices_markdown(), end="")
        return
    from ichor.detecting import load_bundle

    loaded = load_bundle(bundle)
    facts = _facts(loaded)
    if as_json:
        print(json.dumps(facts, allow_nan=False, ensure_ascii=True))
    else:
        _print(facts, loaded.card.card_text if card else "")


def notices_markdown() -> str:
    """Return the table of all notice codes as Markdown, as ``docs/reference/notices.md`` holds it."""
    lines = [
        "# Notices",
        "",
        "Every condition of an input that ichor speaks about, as `ichor info --notices` prints it. *Go on*:",
        "the input is assessed and the notice is shown. *Leave out*: this file or series is not used, the",
        "rest is. *Refuse*: the input is not assessed.",
        "",
        "| code | decision | meaning |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{kind.code}` | {_DECISIONS[kind.decision]} | {kind.meaning} |" for kind in NOTICES.values()
    ]
    return "\n".join(lines) + "\n"


def _facts(bundle: Bundle) -> dict[str, Any]:
    import onnxruntime

    import ichor
    from ichor.detecting.bundle import installed_bundles
    from ichor.reading.limits import Limits

    card = bundle.card.model_dump(mode="json")
    card.pop("card_text", None)
    others = [name for name in installed_bundles() if name != bundle.name]
    return {
        "version": ichor.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "onnxruntime": onnxruntime.__version__,
        "providers": onnxruntime.get_available_providers(),
        "bundle": card,
        "other_bundles": {name: _licence(name) for name in others},
        "limits": asdict(Limits.from_environment()),
    }


def _licence(name: str) -> str:
    """Return the terms of an installed bundle, or why it cannot be used."""
    from ichor.detecting import load_bundle
    from ichor.errors import BundleError

    try:
        return load_bundle(name, verify=False).manifest.licence
    except BundleError as error:
        return str(error)


def _print(facts: dict[str, Any], card_text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.table import Table

    console = Console(highlight=False)
    card = facts["bundle"]
    table = Table.grid(padding=(0, 2))
    table.add_row("ichor", facts["version"])
    table.add_row("Python", f"{facts['python']} on {facts['platform']}")
    table.add_row("ONNX Runtime", f"{facts['onnxruntime']}: {', '.join(facts['providers'])}")
    table.add_row("bundle", f"{card['name']} {card['version']}")
    table.add_row("", f"sha256 {card['sha256']}")
    for place, line in enumerate(card["restrictions"]):
        table.add_row("its terms" if place == 0 else "", line)
    for place, (name, licence) in enumerate(facts["other_bundles"].items()):
        table.add_row("other bundles" if place == 0 else "", f"{name}: {licence}")
    for place, (name, value) in enumerate(facts["limits"].items()):
        table.add_row("limits" if place == 0 else "", f"{name} = {value:,}")
    console.print(table)
    if not card_text:
        console.print("What the model learned from and what was measured: ichor info --card")
        return
    console.print()
    if console.is_terminal:
        console.print(Markdown(card_text))
    else:
        print(card_text)
