"""Alembic's entry: runs the migrations on the connection that :mod:`ichor.serving.database` hands over."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import ichor.serving.tables

__all__: list[str] = []

_ = ichor.serving.tables  # fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
