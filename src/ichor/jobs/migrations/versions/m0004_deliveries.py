"""Results are delivered to archives and other systems."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "delivery",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("upload", sa.String(32), nullable=False),
        sa.Column("study", sa.String(32)),
        sa.Column("destination", sa.String(32), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("next_at", sa.Float(53), nullable=False),
        sa.Column("finished", sa.Float(53)),
        sa.Column("transaction_uid", sa.String(64)),
        sa.Column("error", sa.String(40)),
        sa.UniqueConstraint("upload", "study", "destination"),
    )
    op.create_index("ix_delivery_upload", "delivery", ["upload"])
    op.create_index("ix_delivery_state", "delivery", ["state"])


def downgrade() -> None:
    """Take the table away."""
    op.drop_table("delivery")
