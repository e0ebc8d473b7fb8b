"""Leases of claims, and who does what only one process may do."""

from typing import Any

import sqlalchemy as sa
import sqlalchemy.dialects.mysql
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A migration keeps its own picture of the tables: what it made must not change when they do.
_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
_tables = sa.MetaData()


def upgrade() -> None:
    moment = sa.DateTime().with_variant(sa.dialects.mysql.DATETIME(fsp=6), "mysql", "mariadb")
    leases = sa.Table(
        "moorage_leases",
        _tables,
        sa.Column("consumer", sa.String(36), primary_key=True),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Index("moorage_leases_expires_at_idx", "expires_at"),
        extend_existing=True,
        **_OPTIONS,
    )
    leaders = sa.Table(
        "moorage_leaders",
        _tables,
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
        extend_existing=True,
        **_OPTIONS,
    )
    # Some databases keep what a broken-off migration has made: this one takes it up from there.
    for table in (leases, leaders):
        table.create(op.get_bind(), checkfirst=True)
        for index in table.indexes:
            index.create(op.get_bind(), checkfirst=True)
