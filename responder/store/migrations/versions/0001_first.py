"""The first tables: points, places, audit, turns."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them, with both counters at 1."""
    meta = op.create_table(
        "meta", sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.Integer, nullable=False)
    )
    op.bulk_insert(meta, [{"key": "points", "value": 1}, {"key": "places", "value": 1}])
    op.create_table(
        "points",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    )
    texts = ("district", "municipality", "aliases", "near", "method")
    op.create_table(
        "places",
        sa.Column("code", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("lat", sa.Float, nullable=False),
        sa.Column("lon", sa.Float, nullable=False),
        sa.Column("accuracy", sa.Integer, nullable=False),
        *(sa.Column(name, sa.String, nullable=False) for name in texts),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("decision", sa.String, nullable=False),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
    )
    op.create_table(
        "turns",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state_sealed", sa.LargeBinary, nullable=False),
        sa.Column("reply_sealed", sa.LargeBinary, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("sender_hash", sa.LargeBinary, nullable=False),
        sa.Column("sender_sealed", sa.LargeBinary, nullable=False),
        sa.Column("body_sealed", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("key", "number"),
    )
    op.create_index("turns_at", "turns", ["at"])
    calls = sa.text("channel = 'voice'")
    op.create_index("turns_caller", "turns", ["sender_hash"], sqlite_where=calls, postgresql_where=calls)


def downgrade() -> None:
    """Drop them."""
    for table in ("turns", "audit", "places", "points", "meta"):
        op.drop_table(table)
