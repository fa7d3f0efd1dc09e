"""Measurements of ichor; README.md has what each prints. From the checkout: ``python -m benchmarks.ROOM.NAME``."""
