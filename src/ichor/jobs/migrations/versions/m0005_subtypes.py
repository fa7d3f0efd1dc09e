"""Rows of the worklist name the likely subtypes, and whether the model was measured on enough patients with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of studies done before it is not known."""
    with op.batch_alter_table("study") as table:
        table.add_column(sa.Column("subtypes", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    """Take the column away."""
    with op.batch_alter_table("study") as table:
        table.drop_column("subtypes")
