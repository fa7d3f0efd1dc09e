"""Jobs say how their input is read, and refused studies which series may be assessed instead."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, empty: as the rules say, and none."""
    with op.batch_alter_table("job") as table:
        table.add_column(sa.Column("reading", sa.JSON(none_as_null=True)))
    with op.batch_alter_table("study") as table:
        table.add_column(sa.Column("series", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    """Take the columns away."""
    with op.batch_alter_table("study") as table:
        table.drop_column("series")
    with op.batch_alter_table("job") as table:
        table.drop_column("reading")
