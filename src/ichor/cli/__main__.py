"""``python -m ichor.cli``: the same as the command ``ichor``."""

from ichor.cli import main

main()
