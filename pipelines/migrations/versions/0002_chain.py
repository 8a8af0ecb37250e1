"""The audit chain vouches for the rows of other tables; a lease is timed by the machine's own clock too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit", sa.Column("wrote", sa.Text()))
    op.add_column("leases", sa.Column("seconds", sa.Float()))
    op.add_column("leases", sa.Column("beat_s", sa.Float()))


def downgrade() -> None:
    raise NotImplementedError("a journal goes forward only; put a backup back instead")
