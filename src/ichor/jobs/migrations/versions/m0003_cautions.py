"""Rows of the worklist name the notices that put their result in doubt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of studies done before it is not known."""
    with op.batch_alter_table("study") as table:
        table.add_column(sa.Column("cautions", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    """Take the column away."""
    with op.batch_alter_table("study") as table:
        table.drop_column("cautions")
