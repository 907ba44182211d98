"""Several gateways, operators and hosts by phone, and copies that go out on a laptop."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = ("gateways", "gateway_health", "point_numbers", "wishes", "hosts", "questions", "kits")


def upgrade() -> None:
    """Create them."""
    text, number, whole, blob = sa.String, sa.Double, sa.Integer, sa.LargeBinary
    empty: Any = {"nullable": False, "server_default": ""}
    nothing = sa.text("X''" if op.get_bind().dialect.name == "sqlite" else "''")  # SQLite would keep a text
    op.add_column("turns", sa.Column("gateway", text, nullable=False, server_default="twilio"))
    op.add_column("deliveries", sa.Column("gateway", text, **empty))
    op.add_column("deliveries", sa.Column("via", text, **empty))
    op.add_column("deliveries", sa.Column("missed", whole, nullable=False, server_default="0"))
    op.execute("UPDATE deliveries SET gateway = 'twilio' WHERE attempt > 0")  # the only way there was
    bound = sa.text("via <> '' AND state = 'queued'")
    op.create_index(
        "deliveries_bound", "deliveries", ["via", "state", "broadcast_id", "channel", "not_before", "id"],
        sqlite_where=bound, postgresql_where=bound,
    )  # fmt: skip
    op.add_column("operators", sa.Column("phone_hash", blob, nullable=False, server_default=nothing))
    op.add_column("operators", sa.Column("paper_codes", text, nullable=False, server_default="[]"))
    op.create_index("ix_operators_phone_hash", "operators", ["phone_hash"])
    op.create_table(
        "gateways",
        sa.Column("name", text, primary_key=True),
        *(sa.Column(name, text, nullable=False) for name in ("mode", "who")),
        sa.Column("at", number, nullable=False),
    )
    op.create_table(
        "gateway_health",
        *(sa.Column(name, text, primary_key=True) for name in ("name", "owner")),
        sa.Column("state", text, nullable=False),
        *(sa.Column(name, number, nullable=False) for name in ("failed", "latency", "last_success", "at")),
    )
    op.create_table(
        "point_numbers",
        sa.Column("number", whole, primary_key=True),
        sa.Column("point", text, nullable=False, unique=True),
    )
    op.execute(  # every point that residents may be told of has one from now on
        "INSERT INTO point_numbers (number, point) SELECT row_number() OVER (ORDER BY id), id FROM points"
        """ WHERE data NOT LIKE '%"status": "candidate"%' AND data NOT LIKE '%"status": "rejected"%'"""
    )
    op.create_table(
        "wishes",
        sa.Column("key", blob, primary_key=True),
        *(sa.Column(name, text, nullable=False) for name in ("operator", "command")),
        *(sa.Column(name, number, nullable=False) for name in ("created_at", "until")),
    )
    op.create_table(
        "hosts",
        sa.Column("id", whole, primary_key=True),
        sa.Column("point", text, nullable=False, index=True),
        sa.Column("name", text, nullable=False),
        sa.Column("number_hash", blob, nullable=False, index=True),
        sa.Column("number_sealed", blob, nullable=False),
        sa.Column("created_by", text, nullable=False),
        sa.Column("created_at", number, nullable=False),
        sa.Column("removed_at", number),
    )
    op.create_table(
        "questions",
        sa.Column("id", whole, primary_key=True),
        sa.Column("host", whole, nullable=False, index=True),
        sa.Column("code", text, nullable=False),
        sa.Column("version", whole, nullable=False),
        *(sa.Column(name, number, nullable=False) for name in ("asked_at", "until")),
        sa.Column("tries", whole, nullable=False),
        sa.Column("answer", text, nullable=False),
        sa.Column("answered_at", number),
    )
    op.create_table(
        "kits",
        sa.Column("id", text, primary_key=True),
        sa.Column("made_by", text, nullable=False),
        sa.Column("made_at", number, nullable=False),
        sa.Column("base", text, nullable=False),
        sa.Column("here", sa.Boolean, nullable=False),
        sa.Column("merged_at", number),
    )


def downgrade() -> None:
    """Drop them."""
    for table in reversed(_TABLES):
        op.drop_table(table)
    op.drop_index("ix_operators_phone_hash", "operators")
    for name in ("paper_codes", "phone_hash"):
        op.drop_column("operators", name)
    op.drop_index("deliveries_bound", "deliveries")
    for name in ("missed", "via", "gateway"):
        op.drop_column("deliveries", name)
    op.drop_column("turns", "gateway")
