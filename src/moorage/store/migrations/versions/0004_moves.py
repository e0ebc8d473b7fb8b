"""Moves, and the credits of those that are open."""

from typing import Any

import sqlalchemy as sa
import sqlalchemy.dialects.mysql
from alembic import op

revision = "0004"
down_revision = "0003"
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
    # Some databases keep what a broken-off migration has made: this one takes it up from there.
    for table in (_moves(), _credits()):
        table.create(op.get_bind(), checkfirst=True)
        for index in table.indexes:
            index.create(op.get_bind(), checkfirst=True)


def _moves() -> sa.Table:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    moment = sa.DateTime().with_variant(sa.dialects.mysql.DATETIME(fsp=6), "mysql", "mariadb")
    long_text = sa.Text().with_variant(sa.dialects.mysql.LONGTEXT(), "mysql", "mariadb")
    return sa.Table(
        "moorage_moves",
        _tables,
        sa.Column("id", number, primary_key=True),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("consumer", sa.String(36), nullable=False),
        sa.Column("hold", sa.String(36), nullable=False),
        sa.Column("open_consumer", sa.String(36)),
        sa.Column("open_hold", sa.String(36)),
        sa.Column("credited", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("global_request_id", sa.String(64)),
        sa.Column("project_id", sa.String(255)),
        sa.Column("user_id", sa.String(255)),
        sa.Column("source", long_text),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.UniqueConstraint("uuid", name="uniq_moorage_moves0uuid"),
        sa.UniqueConstraint("open_consumer", name="uniq_moorage_moves0open_consumer"),
        sa.UniqueConstraint("open_hold", name="uniq_moorage_moves0open_hold"),
        sa.Index("moorage_moves_consumer_idx", "consumer", "id"),
        sa.Index("moorage_moves_hold_idx", "hold", "id"),
        sa.Index("moorage_moves_state_idx", "state", "id"),
        sqlite_autoincrement=True,
        extend_existing=True,
        **_OPTIONS,
    )


def _credits() -> sa.Table:
    return sa.Table(
        "moorage_credits",
        _tables,
        sa.Column("move", sa.String(36), primary_key=True),
        sa.Column("resource_provider_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("resource_class_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Index(
            "moorage_credits_provider_class_used_idx",
            "resource_provider_id",
            "resource_class_id",
            "used",
        ),
        extend_existing=True,
        **_OPTIONS,
    )
