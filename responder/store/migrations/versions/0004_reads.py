"""Indexes for what is read while somebody waits: by pages that ask again and again, and in a push's transaction."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    op.create_index("audit_at", "audit", ["at"])
    op.create_index("audit_action", "audit", ["action", "id"])
    _partial("audit_untaken", "audit", ["at"], "run IS NULL AND subject NOT LIKE '%:%'")
    _partial("deliveries_claimed", "deliveries", ["claimed_at"], "claimed_at > 0")
    _partial("deliveries_failed", "deliveries", ["settled_at", "broadcast_id"], "state = 'failed'")
    op.drop_index("subscriptions_answer", "subscriptions")
    op.create_index("subscriptions_answer", "subscriptions", ["place", "service", "told", "state"])


def downgrade() -> None:
    """Have those of before."""
    op.drop_index("subscriptions_answer", "subscriptions")
    op.create_index("subscriptions_answer", "subscriptions", ["place", "service", "told"])
    for name in ("deliveries_failed", "deliveries_claimed"):
        op.drop_index(name, "deliveries")
    for name in ("audit_untaken", "audit_action", "audit_at"):
        op.drop_index(name, "audit")


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
