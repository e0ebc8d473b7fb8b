"""Placement's tables where there are none, the running totals, and the journal."""

from typing import Any

import sqlalchemy as sa
import sqlalchemy.dialects.mysql
from alembic import op

from moorage.store.tables import PLACEMENT_REVISION

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A migration keeps its own picture of the tables: what it made must not change when they do.
_TEXT_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


_tables = sa.MetaData()


def upgrade() -> None:
    # Some databases keep what a broken-off migration has made: this one takes it up from there.
    if not _placement_has_marked_it():
        _create_placement_tables()
    _create_usages()
    _create_journal()


def _placement_has_marked_it() -> bool:
    """Whether the tables are Placement's, or all made by us: its mark comes last."""
    bind = op.get_bind()
    if not sa.inspect(bind).has_table("alembic_version"):
        return False
    return bind.execute(sa.text("SELECT version_num FROM alembic_version")).first() is not None


def _make(name: str, *parts: sa.schema.SchemaItem, **options: Any) -> sa.Table:
    """Create a table and its indexes, as far as they are not there."""
    table = sa.Table(name, _tables, *parts, **options, extend_existing=True)
    table.create(op.get_bind(), checkfirst=True)
    for index in table.indexes:
        index.create(op.get_bind(), checkfirst=True)
    return table


def _stamps() -> list[sa.Column[Any]]:
    return [sa.Column("created_at", sa.DateTime), sa.Column("updated_at", sa.DateTime)]


def _create(name: str, *parts: sa.schema.SchemaItem, **options: Any) -> None:
    _make(name, *_stamps(), *parts, **_TEXT_OPTIONS, **options)


def _named(name: str, column: str, length: int, constraint: str, *, by_hand: bool = False) -> None:
    """A table of ids and unique names."""
    _create(
        name,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=not by_hand),
        sa.Column(column, sa.String(length), nullable=column == "uuid"),
        sa.UniqueConstraint(column, name=constraint),
    )


def _create_placement_tables() -> None:
    _named("resource_classes", "name", 255, "uniq_resource_classes0name", by_hand=True)
    _named("placement_aggregates", "uuid", 36, "uniq_placement_aggregates0uuid")
    _named("traits", "name", 255, "uniq_traits0name")
    _named("projects", "external_id", 255, "uniq_projects0external_id")
    _named("users", "external_id", 255, "uniq_users0external_id")
    _named("consumer_types", "name", 255, "uniq_consumer_types0name")
    _create_providers()
    _create_stock()
    _create_holdings()
    # Placement's own mark of how far its schema is: a site that goes back finds it in place.
    version = _make("alembic_version", sa.Column("version_num", sa.String(32), primary_key=True))
    op.bulk_insert(version, [{"version_num": PLACEMENT_REVISION}])


def _create_providers() -> None:
    _create(
        "resource_providers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.Unicode(200)),
        sa.Column("generation", sa.Integer),
        sa.Column("root_provider_id", sa.Integer, sa.ForeignKey("resource_providers.id")),
        sa.Column("parent_provider_id", sa.Integer, sa.ForeignKey("resource_providers.id")),
        sa.UniqueConstraint("uuid", name="uniq_resource_providers0uuid"),
        sa.UniqueConstraint("name", name="uniq_resource_providers0name"),
        sa.Index("resource_providers_root_provider_id_idx", "root_provider_id"),
        sa.Index("resource_providers_parent_provider_id_idx", "parent_provider_id"),
    )
    _create(
        "resource_provider_aggregates",
        sa.Column("resource_provider_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("aggregate_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Index("resource_provider_aggregates_aggregate_id_idx", "aggregate_id"),
    )
    _create(
        "resource_provider_traits",
        sa.Column(
            "trait_id",
            sa.Integer,
            sa.ForeignKey("traits.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column(
            "resource_provider_id",
            sa.Integer,
            sa.ForeignKey("resource_providers.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Index(
            "resource_provider_traits_resource_provider_trait_idx",
            "resource_provider_id",
            "trait_id",
        ),
    )


def _create_stock() -> None:
    amounts = ("total", "reserved", "min_unit", "max_unit", "step_size")
    _create(
        "inventories",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("resource_provider_id", sa.Integer, nullable=False),
        sa.Column("resource_class_id", sa.Integer, nullable=False),
        *(sa.Column(amount, sa.Integer, nullable=False) for amount in amounts),
        sa.Column("allocation_ratio", sa.Float, nullable=False),
        sa.UniqueConstraint(
            "resource_provider_id",
            "resource_class_id",
            name="uniq_inventories0resource_provider_resource_class",
        ),
        sa.Index("inventories_resource_class_id_idx", "resource_class_id"),
    )


def _create_holdings() -> None:
    _create(
        "consumers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("consumer_type_id", sa.Integer, sa.ForeignKey("consumer_types.id")),
        sa.UniqueConstraint("uuid", name="uniq_consumers0uuid"),
        sa.Index("consumers_project_id_uuid_idx", "project_id", "uuid"),
        sa.Index("consumers_project_id_user_id_uuid_idx", "project_id", "user_id", "uuid"),
        sa.Index("consumers_consumer_type_id_idx", "consumer_type_id"),
    )
    _create(
        "allocations",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("resource_provider_id", sa.Integer, nullable=False),
        sa.Column("consumer_id", sa.String(36), nullable=False),
        sa.Column("resource_class_id", sa.Integer, nullable=False),
        sa.Column("used", sa.Integer, nullable=False),
        sa.Index(
            "allocations_resource_provider_class_used_idx",
            "resource_provider_id",
            "resource_class_id",
            "used",
        ),
        sa.Index("allocations_resource_class_id_idx", "resource_class_id"),
        sa.Index("allocations_consumer_id_idx", "consumer_id"),
    )


def _create_usages() -> None:
    _make(
        "moorage_usages",
        sa.Column("resource_provider_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("resource_class_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        **_TEXT_OPTIONS,
    )


def _create_journal() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    moment = sa.DateTime().with_variant(sa.dialects.mysql.DATETIME(fsp=6), "mysql", "mariadb")
    long_text = sa.Text().with_variant(sa.dialects.mysql.LONGTEXT(), "mysql", "mariadb")
    _make(
        "moorage_journal",
        sa.Column("id", number, primary_key=True),
        sa.Column("at", moment, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("providers", long_text, nullable=False),
        sa.Column("before", long_text),
        sa.Column("after", long_text),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("global_request_id", sa.String(64)),
        sa.Column("project_id", sa.String(255)),
        sa.Column("user_id", sa.String(255)),
        sa.Column("cause", sa.String(64)),
        sa.Column("move", sa.String(36)),
        sa.Index("moorage_journal_subject_idx", "subject", "id"),
        sqlite_autoincrement=True,
        **_TEXT_OPTIONS,
    )
