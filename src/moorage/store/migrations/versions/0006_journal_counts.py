"""How many rows of the journal were written, where row numbers do not tell."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    table = sa.Table(
        "moorage_journal_counts",
        sa.MetaData(),
        sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("written", sa.BigInteger, nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    # Some databases keep what a broken-off migration has made: this one takes it up from there.
    table.create(op.get_bind(), checkfirst=True)
