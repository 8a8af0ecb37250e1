"""A request may go as a job of the vendor's, which writes until it is over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(80), nullable=False),
        sa.Column("made_at", sa.String(40), nullable=False),
        sa.Column("state", sa.String(16)),
        sa.Column("over_at", sa.String(40)),
        sa.PrimaryKeyConstraint("request_id"),
    )


def downgrade() -> None:
    raise NotImplementedError("a journal goes forward only; put a backup back instead")
