"""What operators sign in with, and what the console keeps: aliases, shift log, exercises, half-year reports."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OPERATOR = ("password_hash", "totp_sealed", "totp_step", "recovery", "invite_hash", "invite_until", "language")


def upgrade() -> None:
    """Create them."""
    text, number, whole, blob = sa.String, sa.Double, sa.Integer, sa.LargeBinary
    empty: Any = {"nullable": False, "server_default": ""}
    zero: Any = {"nullable": False, "server_default": "0"}
    nothing = sa.text("X''" if op.get_bind().dialect.name == "sqlite" else "''")  # SQLite would keep a text
    op.add_column("operators", sa.Column("password_hash", text, **empty))
    op.add_column("operators", sa.Column("totp_sealed", blob, nullable=False, server_default=nothing))
    op.add_column("operators", sa.Column("totp_step", whole, **zero))
    op.add_column("operators", sa.Column("recovery", text, nullable=False, server_default="[]"))
    op.add_column("operators", sa.Column("invite_hash", text, **empty))
    op.add_column("operators", sa.Column("invite_until", number, **zero))
    op.add_column("operators", sa.Column("language", text, nullable=False, server_default="sv"))
    missed = sa.text("outcome IN ('unknown', 'no_such_code')")
    op.create_index("turns_missed", "turns", ["at", "channel"], sqlite_where=missed, postgresql_where=missed)
    op.create_table(
        "sessions",
        sa.Column("id_hash", text, primary_key=True),
        sa.Column("operator", text, nullable=False, index=True),
        *(sa.Column(name, number, nullable=False) for name in ("created_at", "seen_at", "fresh_at")),
        *(sa.Column(name, text, **empty) for name in ("address", "agent")),
        sa.Column("ended_at", number),
    )
    op.create_table(
        "failures",
        sa.Column("scope", text, primary_key=True),
        sa.Column("count", whole, nullable=False),
        sa.Column("last_at", number, nullable=False),
    )
    op.create_table(
        "aliases",
        sa.Column("id", whole, primary_key=True),
        *(sa.Column(name, text, nullable=False) for name in ("alias", "place", "added_by")),
        sa.Column("added_at", number, nullable=False),
        sa.Column("removed_by", text, **empty),
        sa.Column("removed_at", number),
    )
    op.create_table(
        "handled",
        sa.Column("words_hash", blob, primary_key=True),
        sa.Column("who", text, nullable=False),
        sa.Column("at", number, nullable=False),
    )
    op.create_table(
        "notes",
        sa.Column("id", whole, primary_key=True),
        sa.Column("at", number, nullable=False),
        *(sa.Column(name, text, nullable=False) for name in ("who", "kind")),
        sa.Column("text", sa.Text, **empty),
    )
    op.create_table(
        "exercises",
        sa.Column("id", whole, primary_key=True),
        *(sa.Column(name, text, nullable=False) for name in ("name", "begun_by")),
        sa.Column("begun_at", number, nullable=False),
        sa.Column("ended_by", text, **empty),
        sa.Column("ended_at", number),
        sa.Column("current", whole, unique=True),
    )
    op.create_table(
        "played_points",
        sa.Column("id", text, primary_key=True),
        sa.Column("version", whole, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_table(
        "reports",
        sa.Column("district", text, primary_key=True),
        sa.Column("period", text, primary_key=True),
        *(sa.Column(name, text, **empty) for name in ("deadline", "signed_by")),
        sa.Column("signed_at", number),
        sa.Column("note", sa.Text, **empty),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("reports", "played_points", "exercises", "notes", "handled", "aliases", "failures", "sessions"):
        op.drop_table(table)
    op.drop_index("turns_missed", "turns")
    for name in OPERATOR:
        op.drop_column("operators", name)
