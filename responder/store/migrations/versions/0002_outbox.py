"""Subscriptions, broadcasts and their deliveries, operators, and what the jobs process works from."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SYSTEM = {"id": 1, "kind": "system", "state": "sending", "priority": 0, "created_at": 0.0}


def upgrade() -> None:
    """Create them, with the broadcast that carries what residents ask for by phone."""
    text, number, blob = sa.String, sa.Double, sa.LargeBinary
    empty: Any = {"nullable": False, "server_default": ""}
    zero: Any = {"nullable": False, "server_default": "0"}
    for name in ("way", "language", "place", "service", "said"):
        op.add_column("turns", sa.Column(name, text, **empty))
    op.add_column("turns", sa.Column("said_at", number, nullable=False, server_default="0"))
    _partial("turns_said", "turns", ["said_at"], "said <> ''")
    op.add_column("audit", sa.Column("decided_by", text, **empty))
    op.add_column("audit", sa.Column("run", number))
    op.add_column("audit", sa.Column("told_at", sa.DateTime(timezone=True)))
    op.create_index("audit_subject", "audit", ["subject", "id"])
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("number_hash", blob, nullable=False),
        sa.Column("number_sealed", blob, nullable=False),
        *(sa.Column(name, text, **empty) for name in ("channel", "language", "place", "service", "state")),
        sa.Column("exercise", sa.Boolean, nullable=False, server_default=sa.false()),
        *(sa.Column(name, text, **empty) for name in ("told", "said")),
        sa.Column("said_at", number, nullable=False, server_default="0"),
        sa.Column("created_at", number, nullable=False),
        sa.UniqueConstraint("number_hash", "place", "service"),
        sqlite_autoincrement=True,
    )
    op.create_index("subscriptions_answer", "subscriptions", ["place", "service", "told"])
    op.create_table(
        "suppressions",
        sa.Column("number_hash", blob, primary_key=True),
        sa.Column("at", number, nullable=False),
        sa.Column("reason", text, nullable=False),
    )
    broadcasts = op.create_table(
        "broadcasts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", text, nullable=False),
        sa.Column("template", text, **empty),
        sa.Column("exercise", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("state", text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("audience", sa.Text, **empty),
        sa.Column("texts", sa.Text, nullable=False, server_default="{}"),
        sa.Column("fallback", text, **empty),
        sa.Column("operator", text, **empty),
        sa.Column("editors", sa.Text, nullable=False, server_default="[]"),
        sa.Column("approved_by", text, **empty),
        sa.Column("approved_version", sa.Integer, nullable=False, server_default="0"),
        sa.Column("reason", text, **empty),
        sa.Column("corrects", sa.Integer),
        sa.Column("run", number),
        sa.Column("recipients", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", number, nullable=False),
        *(sa.Column(name, number) for name in ("submitted_at", "send_at", "started_at", "finished_at")),
        sqlite_autoincrement=True,
    )
    op.create_index("broadcasts_state", "broadcasts", ["state", "priority"])
    op.bulk_insert(broadcasts, [SYSTEM])
    if op.get_bind().dialect.name == "postgresql":  # it was given its id, so that the sequence does not know of it
        op.execute("SELECT setval(pg_get_serial_sequence('broadcasts', 'id'), 1)")
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("broadcast_id", sa.Integer, nullable=False),
        sa.Column("kind", text, nullable=False),
        sa.Column("number_hash", blob, nullable=False),
        sa.Column("number_sealed", blob, nullable=False),
        sa.Column("channel", text, nullable=False),
        *(sa.Column(name, text, **empty) for name in ("language", "place", "service", "serial")),
        sa.Column("subscription_id", sa.Integer),
        sa.Column("turn_id", text),
        sa.Column("state", text, nullable=False),
        *(sa.Column(name, text, **empty) for name in ("target", "told", "told_before", "said", "said_before")),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        *(sa.Column(name, number, **zero) for name in ("not_before", "lease_until", "claimed_at")),
        sa.Column("owner", text, **empty),
        sa.Column("looked", sa.Integer, nullable=False, server_default="0"),
        sa.Column("body", sa.Text, **empty),
        sa.Column("segments", sa.Integer, nullable=False, server_default="0"),
        sa.Column("provider_id", text, **empty),
        sa.Column("error", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", number, nullable=False),
        sa.Column("settled_at", number),
        sa.UniqueConstraint("number_hash", "broadcast_id", "place", "service", "serial"),
        sqlite_autoincrement=True,
    )
    op.create_index("deliveries_next", "deliveries", ["broadcast_id", "channel", "state", "not_before", "id"])
    op.create_index("deliveries_created", "deliveries", ["created_at"])
    _partial("deliveries_in_hand", "deliveries", ["lease_until"], "state IN ('sending', 'unknown')")
    op.create_table(
        "operators",
        sa.Column("name", text, primary_key=True),
        sa.Column("role", text, nullable=False),
        sa.Column("districts", text, nullable=False, server_default="[]"),
        sa.Column("token_hash", text, nullable=False),
        sa.Column("phone_sealed", blob, nullable=False),
        sa.Column("created_by", text, nullable=False),
        sa.Column("created_at", number, nullable=False),
        sa.Column("disabled_at", number),
    )
    op.create_table(
        "due",
        sa.Column("job", text, primary_key=True),
        sa.Column("at", number, primary_key=True),
        sa.Column("done_at", number),
    )
    _partial("due_open", "due", ["at"], "done_at IS NULL")
    op.create_table(
        "leases",
        sa.Column("name", text, primary_key=True),
        sa.Column("owner", text, nullable=False),
        sa.Column("until", number, nullable=False),
    )
    op.create_table(
        "usage",
        sa.Column("scope", text, primary_key=True),
        sa.Column("span", sa.Integer, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("cost", number, nullable=False, server_default="0"),
    )


def downgrade() -> None:
    """Drop them."""
    for table in (
        "usage", "leases", "due", "operators", "deliveries", "broadcasts", "suppressions", "subscriptions",
    ):  # fmt: skip
        op.drop_table(table)
    op.drop_index("audit_subject", "audit")
    op.drop_index("turns_said", "turns")
    for table, names in {
        "audit": ("decided_by", "run", "told_at"),
        "turns": ("way", "language", "place", "service", "said", "said_at"),
    }.items():
        for name in names:
            op.drop_column(table, name)


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    only = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=only, postgresql_where=only)
