"""Alembic's entry: runs the migrations on the connection that :mod:`ichor.jobs.database` hands over."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import ichor.jobs.tables

__all__: list[str] = []

_ = ichor.jobs.tables  # fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
