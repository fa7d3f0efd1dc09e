"""Whose study it is, for servers that are asked to show it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, empty: of studies read before it is not known."""
    op.create_table(
        "identity",
        sa.Column("study", sa.String(32), sa.ForeignKey("study.id"), primary_key=True),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("name", "patient_id", "accession", "date", "description")
        ),
    )
    op.create_index("ix_identity_patient_id", "identity", ["patient_id"])


def downgrade() -> None:
    """Take the table away, with what is in it."""
    op.drop_table("identity")
