"""What the documentation site needs besides ``docs/``: pages that lie beside it, and links that hold in both places.

MkDocs calls these functions (``hooks`` in ``mkdocs.yml``). Pages keep links that hold in the repository; here each is
turned into the address that its target has on the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

__all__ = ["BESIDE", "on_files", "on_page_content", "on_page_markdown"]

ROOT = Path(__file__).parents[1]
BESIDE = {
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "SECURITY.md": "project/security.md",
    "CODE_OF_CONDUCT.md": "project/conduct.md",
}
"""Files of the repository that are pages of the site, and where."""
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_ROLE = re.compile(r":(?:func|class|meth|mod|attr|data|exc|obj):<code>(?:~[\w.]*\.)?([\w.]+)</code>")
_CODE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie beside ``docs/``."""
    from mkdocs.structure.files import File

    for path, page in BESIDE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page's text with links that hold on the site."""
    uri = page.file.src_uri
    if uri == "index.md":
        page.meta["hide"] = ["navigation", "toc"]
    source = next((path for path, own in BESIDE.items() if own == uri), f"docs/{uri}")
    parts = _CODE.split(markdown)
    return "".join(part if part.startswith("```") else _rewritten(part, source, uri) for part in parts)


def on_page_content(html: str, **_: Any) -> str:
    """Return a page without the roles that docstrings have around names of code."""
    return _ROLE.sub(r"<code>\1</code>", html)


def _rewritten(text: str, source: str, uri: str) -> str:
    """Return text whose links, relative to ``source`` in the repository, are relative to ``uri`` on the site."""

    def one(match: re.Match[str]) -> str:
        label, target = match.groups()
        if target.startswith(("#", "http:", "https:", "mailto:")):
            return match[0]
        path, _, anchor = target.partition("#")
        there = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if there in BESIDE:
            goal = BESIDE[there]
        elif there.startswith("docs/"):
            goal = there.removeprefix("docs/")
        elif (ROOT / there).exists():
            return label  # code and folders are no part of the site: their name stays, the link goes
        else:
            return match[0]  # MkDocs says that it leads nowhere
        relative = posixpath.relpath(goal, posixpath.dirname(uri) or ".")
        return f"[{label}]({relative}{'#' + anchor if anchor else ''})"

    return _LINK.sub(one, text)
