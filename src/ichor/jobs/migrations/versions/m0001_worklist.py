"""The worklist, its queue, findings, verdicts, events and sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _make_queue()
    _make_results()
    _make_readers()


def _make_queue() -> None:
    op.create_table(
        "job",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("upload", sa.String(32), nullable=False, unique=True),
        sa.Column("arrived", sa.Float(53), nullable=False),
        sa.Column("state", sa.String(8), nullable=False, index=True),
        sa.Column("leased_by", sa.String(32)),
        sa.Column("lease_until", sa.Float(53)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("inputs", sa.JSON, nullable=False),
        sa.Column("dropped", sa.JSON, nullable=False),
        sa.Column("alias", sa.String(80)),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "study",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("job", sa.Integer, sa.ForeignKey("job.seq"), nullable=False, index=True),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("arrived", sa.Float(53), nullable=False, index=True),
        sa.Column("state", sa.String(9), nullable=False, index=True),
        sa.Column("label", sa.String(16), nullable=False),
        sa.Column("alias", sa.String(80)),
        sa.Column("kind", sa.String(8)),
        sa.Column("content", sa.String(64), index=True),
        sa.Column("study_uid", sa.String(64), index=True),
        sa.Column("series_uid", sa.String(64), index=True),
        sa.Column("started", sa.Float(53)),
        sa.Column("finished", sa.Float(53)),
        sa.Column("n_slices", sa.Integer),
        sa.Column("probability", sa.Float(53)),
        sa.Column("flagged", sa.Boolean, nullable=False),
        sa.Column("uncertain", sa.Boolean),
        sa.Column("probabilities", sa.JSON),
        sa.Column("positive", sa.JSON),
        sa.Column("volume_ml", sa.Float(53)),
        sa.Column("warnings_n", sa.Integer, nullable=False),
        sa.Column("refusal_code", sa.String(40)),
        sa.Column("refusal_message", sa.Text),
        sa.Column("duplicate_of", sa.String(32), index=True),
        sa.Column("read_by", sa.String(80)),
        sa.Column("read_at", sa.Float(53)),
        sa.Column("verdict", sa.String(8)),
        sa.UniqueConstraint("job", "part"),
    )


def _make_results() -> None:
    op.create_table(
        "findings",
        sa.Column("study", sa.String(32), sa.ForeignKey("study.id"), primary_key=True),
        sa.Column("findings", sa.Text, nullable=False),
        sa.Column("display", sa.JSON),
    )


def _make_readers() -> None:
    op.create_table(
        "verdict",
        sa.Column("study", sa.String(32), sa.ForeignKey("study.id"), primary_key=True),
        sa.Column("reader", sa.String(80), primary_key=True),
        sa.Column("verdict", sa.String(8), nullable=False),
        sa.Column("labels", sa.JSON),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("study", sa.String(32), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "session",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("user", sa.String(80), nullable=False),
        sa.Column("expires", sa.Float(53), nullable=False),
    )


def downgrade() -> None:
    """Drop the tables, with all that is in them."""
    for name in ("session", "event", "verdict", "findings", "study", "job"):
        op.drop_table(name)
