"""Print a command that the README gives, so that continuous integration runs it word for word.

``python scripts/readme_command.py test`` prints the block that follows ``<!-- command: test -->``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["readme_command"]

README = Path(__file__).parents[1] / "README.md"


def readme_command(name: str, readme: Path = README) -> str:
    """Return the shell block of the README that is marked with a name.

    Parameters
    ----------
    name
        As in ``<!-- command: NAME -->``.
    readme
        The file.

    Raises
    ------
    SystemExit
        Where the README marks no such block.
    """
    text = readme.read_text(encoding="utf-8")
    found = re.search(rf"<!-- command: {re.escape(name)} -->\n+```\w*\n(.+?)\n```", text, re.DOTALL)
    if found is None:
        known = ", ".join(re.findall(r"<!-- command: (\S+) -->", text)) or "none"
        raise SystemExit(f"{readme.name}: found no command {name!r}; expected one of {known}")
    return found.group(1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python scripts/readme_command.py NAME")
    print(readme_command(sys.argv[1]))
