"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "meta",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("holder", sa.String(200), nullable=False),
        sa.Column("started_at", sa.String(40), nullable=False),
        sa.Column("ended_at", sa.String(40)),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("calls", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_index("ix_runs_started_at", "runs", ["started_at"])
    op.create_table(
        "leases",
        sa.Column("pair", sa.String(200), nullable=False),
        sa.Column("fencing", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(200), nullable=False),
        sa.Column("process", sa.String(200), nullable=False),
        sa.Column("taken_at", sa.String(40), nullable=False),
        sa.Column("expires_at", sa.String(40)),
        sa.PrimaryKeyConstraint("pair"),
    )
    op.create_table(
        "plans",
        sa.Column("plan_hash", sa.String(64), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("plan_hash"),
    )
    op.create_index("ix_plans_created_at", "plans", ["created_at"])
    op.create_table(
        "outcomes",
        sa.Column("plan_hash", sa.String(64), nullable=False),
        sa.Column("operation_id", sa.String(64), nullable=False),
        sa.Column("system", sa.String(16), nullable=False),
        sa.Column("entity", sa.String(16), nullable=False),
        sa.Column("record_id", sa.String(80)),
        sa.Column("link_id", sa.String(200)),
        sa.Column("unit", sa.String(80)),
        sa.Column("phase", sa.String(16)),
        sa.Column("action", sa.String(16)),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("message", sa.Text()),
        sa.Column("written", sa.LargeBinary()),
        sa.Column("at", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("plan_hash", "operation_id"),
    )
    op.create_index("outcomes_by_unit", "outcomes", ["link_id", "unit", "at"])
    op.create_table(
        "requests",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("system", sa.String(16), nullable=False),
        sa.Column("method", sa.String(8), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.String(128), unique=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("first_sent_at", sa.String(40)),
        sa.Column("last_sent_at", sa.String(40)),
        sa.Column("burnt", sa.Boolean(), nullable=False),
        sa.Column("fencing", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("request_id"),
    )
    op.create_table(
        "intents",
        sa.Column("intent_id", sa.String(64), nullable=False),
        sa.Column("business_key", sa.String(200), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("plan_hash", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("system", sa.String(16), nullable=False),
        sa.Column("entity", sa.String(16), nullable=False),
        sa.Column("object", sa.String(80), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("record_id", sa.String(80)),
        sa.Column("natural_key", sa.String(255)),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("fencing", sa.BigInteger(), nullable=False),
        sa.Column("result_id", sa.String(80)),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.Column("ended_at", sa.String(40)),
        sa.PrimaryKeyConstraint("intent_id"),
    )
    op.create_index("intents_by_state", "intents", ["state"])
    op.create_index("ix_intents_request_id", "intents", ["request_id"])
    live = sa.text("state in ('sending', 'unknown')")
    op.create_index(
        "one_live_intent",
        "intents",
        ["business_key"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )
    op.create_table(
        "links",
        sa.Column("link_id", sa.String(200), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("entity", sa.String(16), nullable=False),
        sa.Column("salesforce_id", sa.String(80)),
        sa.Column("xero_id", sa.String(80)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("rule", sa.String(64)),
        sa.Column("score", sa.Float()),
        sa.Column("evidence", sa.Text()),
        sa.Column("made_by", sa.String(200)),
        sa.Column("held_from", sa.String(40), nullable=False),
        sa.Column("held_to", sa.String(40)),
        sa.PrimaryKeyConstraint("link_id"),
    )
    op.create_index("ix_links_salesforce_id", "links", ["salesforce_id"])
    op.create_index("ix_links_sequence", "links", ["sequence"])
    op.create_index("ix_links_xero_id", "links", ["xero_id"])
    op.create_table(
        "bases",
        sa.Column("link_id", sa.String(200), nullable=False),
        sa.Column("side", sa.String(16), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("units", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("link_id", "side"),
    )
    op.create_index("ix_bases_sequence", "bases", ["sequence"])
    op.create_table(
        "decisions",
        sa.Column("sequence", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("entity", sa.String(16), nullable=False),
        sa.Column("salesforce_id", sa.String(80)),
        sa.Column("xero_id", sa.String(80)),
        sa.Column("unit", sa.String(80)),
        sa.Column("fingerprint", sa.Text()),
        sa.Column("made_by", sa.String(200), nullable=False),
        sa.Column("made_at", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_table(
        "tokens",
        sa.Column("side", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("side", "kind"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("operation_id", sa.String(64), nullable=False),
        sa.Column("system", sa.String(16), nullable=False),
        sa.Column("entity", sa.String(16), nullable=False),
        sa.Column("unit", sa.String(80)),
        sa.Column("record_id", sa.String(80)),
        sa.Column("message", sa.Text()),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.String(40), nullable=False),
        sa.Column("last_at", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("operation_id"),
    )
    op.create_table(
        "inbox",
        sa.Column("event_id", sa.String(200), nullable=False),
        sa.Column("side", sa.String(16), nullable=False),
        sa.Column("object", sa.String(80), nullable=False),
        sa.Column("record_id", sa.String(80), nullable=False),
        sa.Column("received_at", sa.String(40), nullable=False),
        sa.Column("done_at", sa.String(40)),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )


def downgrade() -> None:
    raise NotImplementedError("a journal is never taken back to an older schema")
