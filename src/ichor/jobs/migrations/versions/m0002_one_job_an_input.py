"""One job an input, taken in turn; sessions bound to what gave them; the clock as it was last seen."""

from __future__ import annotations

import json
import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NAMES = {"uq": "uq_%(table_name)s_%(column_0_name)s"}
"""The old constraint has no name of its own in SQLite."""


def upgrade() -> None:
    """Split the jobs; log everybody out once."""
    old = "job_upload_key" if op.get_bind().dialect.name == "postgresql" else "uq_job_upload"
    with op.batch_alter_table("job", naming_convention=_NAMES) as table:
        table.drop_constraint(old, type_="unique")
        table.add_column(sa.Column("number", sa.Integer, nullable=False, server_default="0"))
        table.add_column(sa.Column("input", sa.String(40), nullable=False, server_default=""))
        table.add_column(sa.Column("turn", sa.Integer, nullable=False, server_default="0"))
        table.add_column(sa.Column("at_part", sa.Integer))
        table.create_unique_constraint("uq_job_upload_number", ["upload", "number"])
    op.create_index("ix_job_turn", "job", ["turn"])
    _split_jobs(op.get_bind())
    with op.batch_alter_table("job") as table:
        table.drop_column("inputs")
        for name, kind in (("number", sa.Integer()), ("input", sa.String(40)), ("turn", sa.Integer())):
            table.alter_column(name, existing_type=kind, existing_nullable=False, server_default=None)
    op.execute("DELETE FROM session")  # what gave them is not known
    with op.batch_alter_table("session") as table:
        table.add_column(sa.Column("credential", sa.String(64), nullable=False))
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("seen", sa.Float(53), nullable=False),
    )


def downgrade() -> None:
    """Not possible: jobs of one upload cannot be put together again without reading it."""
    raise NotImplementedError("the database was made by this version or a newer one; keep using it")


def _split_jobs(connection: sa.Connection) -> None:
    """Give each input that is not read yet a job and a row of its own, in the turn of its upload.

    What an upload has finished stays with its first job; if that is read again, it is recognised by its pixels.
    """
    rows = connection.execute(sa.text("SELECT seq, upload, arrived, state, inputs, alias FROM job")).all()
    for seq, upload, arrived, state, inputs, alias in rows:
        names: list[str] = json.loads(inputs) if isinstance(inputs, str) else list(inputs)
        change = "UPDATE job SET input = :input, turn = seq WHERE seq = :seq"
        connection.execute(sa.text(change), {"input": names[0] if names else "", "seq": seq})
        if state == "done":
            continue
        for number, name in enumerate(names[1:], start=1):
            values = {"upload": upload, "number": number, "input": name, "turn": seq}
            job = _insert_job(connection, {**values, "arrived": arrived, "alias": alias})
            _insert_study(connection, job, arrived, alias)


def _insert_job(connection: sa.Connection, values: dict[str, Any]) -> int:
    table = sa.table(
        "job",
        *(
            sa.column(c)
            for c in ("upload", "number", "input", "turn", "arrived", "state", "attempts", "alias")
        ),
        sa.column("inputs", sa.JSON),
        sa.column("dropped", sa.JSON),
    )
    connection.execute(table.insert().values(**values, state="queued", attempts=0, inputs=[], dropped=[]))
    found = sa.text("SELECT seq FROM job WHERE upload = :upload AND number = :number")
    return int(connection.execute(found, values).scalar_one())


def _insert_study(connection: sa.Connection, job: int, arrived: float, alias: str | None) -> None:
    study = secrets.token_hex(16)
    names = ("id", "job", "part", "arrived", "state", "label", "alias", "flagged", "warnings_n")
    table = sa.table("study", *(sa.column(c) for c in names))
    label = f"{study[:4]}-{study[4:8]}".upper()
    values = {"id": study, "job": job, "arrived": arrived, "label": label, "alias": alias}
    connection.execute(table.insert().values(**values, part=0, state="queued", flagged=False, warnings_n=0))
