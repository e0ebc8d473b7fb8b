"""The tables: Placement's own, with its names and columns, and ours beside them (``moorage_*``).

Source of the names: the schema of openstack-placement 16 (its database migrations up to
``a082b8bb98d0``), so that a site adopts Moorage on the database that it has, and can go back.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    Unicode,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import mysql

PLACEMENT_REVISION: Final = "a082b8bb98d0"
"""Placement's own migration level that this schema equals (its ``alembic_version``)."""

metadata = MetaData()

# Names are told apart by case on every database, as they are on PostgreSQL and SQLite.
_MARIADB: Final[dict[str, Any]] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
_moment = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
_row_number = BigInteger().with_variant(Integer, "sqlite")
_long_text = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def _stamps() -> tuple[Column[Any], Column[Any]]:
    return Column("created_at", DateTime), Column("updated_at", DateTime)


resource_classes = Table(
    "resource_classes",
    metadata,
    *_stamps(),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(255), nullable=False),
    UniqueConstraint("name", name="uniq_resource_classes0name"),
    **_MARIADB,
)

resource_providers = Table(
    "resource_providers",
    metadata,
    *_stamps(),
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False),
    Column("name", Unicode(200)),
    Column("generation", Integer),
    Column("root_provider_id", Integer, ForeignKey("resource_providers.id")),
    Column("parent_provider_id", Integer, ForeignKey("resource_providers.id")),
    UniqueConstraint("uuid", name="uniq_resource_providers0uuid"),
    UniqueConstraint("name", name="uniq_resource_providers0name"),
    Index("resource_providers_root_provider_id_idx", "root_provider_id"),
    Index("resource_providers_parent_provider_id_idx", "parent_provider_id"),
    **_MARIADB,
)

inventories = Table(
    "inventories",
    metadata,
    *_stamps(),
    Column("id", Integer, primary_key=True),
    Column("resource_provider_id", Integer, nullable=False),
    Column("resource_class_id", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("reserved", Integer, nullable=False),
    Column("min_unit", Integer, nullable=False),
    Column("max_unit", Integer, nullable=False),
    Column("step_size", Integer, nullable=False),
    Column("allocation_ratio", Float, nullable=False),
    UniqueConstraint(
        "resource_provider_id",
        "resource_class_id",
        name="uniq_inventories0resource_provider_resource_class",
    ),
    Index("inventories_resource_class_id_idx", "resource_class_id"),
    **_MARIADB,
)

allocations = Table(
    "allocations",
    metadata,
    *_stamps(),
    Column("id", Integer, primary_key=True),
    Column("resource_provider_id", Integer, nullable=False),
    Column("consumer_id", String(36), nullable=False),
    Column("resource_class_id", Integer, nullable=False),
    Column("used", Integer, nullable=False),
    Index(
        "allocations_resource_provider_class_used_idx",
        "resource_provider_id",
        "resource_class_id",
        "used",
    ),
    Index("allocations_resource_class_id_idx", "resource_class_id"),
    Index("allocations_consumer_id_idx", "consumer_id"),
    **_MARIADB,
)

placement_aggregates = Table(
    "placement_aggregates",
    metadata,
    *_stamps(),
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36)),
    UniqueConstraint("uuid", name="uniq_placement_aggregates0uuid"),
    **_MARIADB,
)

resource_provider_aggregates = Table(
    "resource_provider_aggregates",
    metadata,
    *_stamps(),
    Column("resource_provider_id", Integer, primary_key=True, autoincrement=False),
    Column("aggregate_id", Integer, primary_key=True, autoincrement=False),
    Index("resource_provider_aggregates_aggregate_id_idx", "aggregate_id"),
    **_MARIADB,
)

traits = Table(
    "traits",
    metadata,
    *_stamps(),
    Column("id", Integer, primary_key=True),
    Column("name", Unicode(255), nullable=False),
    UniqueConstraint("name", name="uniq_traits0name"),
    **_MARIADB,
)

resource_provider_traits = Table(
    "resource_provider_traits",
    metadata,
    *_stamps(),
    Column("trait_id", Integer, ForeignKey("traits.id"), primary_key=True, autoincrement=False),
    Column(
        "resource_provider_id",
        Integer,
        ForeignKey("resource_providers.id"),
        primary_key=True,
        autoincrement=False,
    ),
    Index(
        "resource_provider_traits_resource_provider_trait_idx",
        "resource_provider_id",
        "trait_id",
    ),
    **_MARIADB,
)

projects = Table(
    "projects",
    metadata,
    *_stamps(),
    Column("id", Integer, primary_key=True),
    Column("external_id", String(255), nullable=False),
    UniqueConstraint("external_id", name="uniq_projects0external_id"),
    **_MARIADB,
)

users = Table(
    "users",
    metadata,
    *_stamps(),
    Column("id", Integer, primary_key=True),
    Column("external_id", String(255), nullable=False),
    UniqueConstraint("external_id", name="uniq_users0external_id"),
    **_MARIADB,
)

consumer_types = Table(
    "consumer_types",
    metadata,
    *_stamps(),
    Column("id", Integer, primary_key=True),
    Column("name", Unicode(255), nullable=False),
    UniqueConstraint("name", name="uniq_consumer_types0name"),
    **_MARIADB,
)

consumers = Table(
    "consumers",
    metadata,
    *_stamps(),
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False),
    Column("project_id", Integer, nullable=False),
    Column("user_id", Integer, nullable=False),
    Column("generation", Integer, nullable=False, server_default=text("0")),
    Column("consumer_type_id", Integer, ForeignKey("consumer_types.id")),
    UniqueConstraint("uuid", name="uniq_consumers0uuid"),
    Index("consumers_project_id_uuid_idx", "project_id", "uuid"),
    Index("consumers_project_id_user_id_uuid_idx", "project_id", "user_id", "uuid"),
    Index("consumers_consumer_type_id_idx", "consumer_type_id"),
    **_MARIADB,
)

PLACEMENT_TABLES: Final = tuple(metadata.tables.values())

moorage_usages = Table(
    "moorage_usages",
    metadata,
    Column("resource_provider_id", Integer, primary_key=True, autoincrement=False),
    Column("resource_class_id", Integer, primary_key=True, autoincrement=False),
    Column("used", BigInteger, nullable=False),
    **_MARIADB,
)
"""Running totals: ``used`` is the sum of the allocations less that of the credits.

Kept in each change's transaction. There is a row for each inventory, and none where the inventory
is gone.
"""

moorage_journal = Table(
    "moorage_journal",
    metadata,
    Column("id", _row_number, primary_key=True),
    Column("at", _moment, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("providers", _long_text, nullable=False),
    Column("before", _long_text),
    Column("after", _long_text),
    Column("request_id", String(64), nullable=False),
    Column("global_request_id", String(64)),
    Column("project_id", String(255)),
    Column("user_id", String(255)),
    Column("cause", String(64)),
    Column("move", String(36)),
    Column("totals", _long_text),
    Index("moorage_journal_subject_idx", "subject", "id"),
    sqlite_autoincrement=True,
    **_MARIADB,
)
"""Every change, in the transaction that made it; ``providers`` lists the row ids it touched."""

moorage_journal_counts = Table(
    "moorage_journal_counts",
    metadata,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("written", BigInteger, nullable=False),
    **_MARIADB,
)
"""How many rows of the journal were ever written, in parts whose sum counts.

Kept where the dialect says so, in each change's transaction. A part belongs to some connections of
one server, so that writers seldom wait for each other.
"""

moorage_leases = Table(
    "moorage_leases",
    metadata,
    Column("consumer", String(36), primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("expires_at", _moment, nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("created_at", _moment, nullable=False),
    Index("moorage_leases_expires_at_idx", "expires_at"),
    **_MARIADB,
)
"""Consumers whose allocations are freed at a time, unless somebody renews or changes them.

``request_id`` is that of the claim that the lease is about, ``generation`` the consumer's after it:
whatever changed the consumer since ended the lease.
"""

moorage_leaders = Table(
    "moorage_leaders",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("beat", BigInteger, nullable=False),
    **_MARIADB,
)
"""Which process does a job that only one may do; it counts ``beat`` up as long as it lives."""

moorage_undo = Table(
    "moorage_undo",
    metadata,
    Column("id", _row_number, primary_key=True),
    Column("at", _moment, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("record", _long_text, nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("undone_at", _moment),
    Index("moorage_undo_subject_idx", "subject", "id"),
    sqlite_autoincrement=True,
    **_MARIADB,
)
"""What each heal of the auditor changed: the rows before and after, so that it can be undone."""

moorage_moves = Table(
    "moorage_moves",
    metadata,
    Column("id", _row_number, primary_key=True),
    Column("uuid", String(36), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("consumer", String(36), nullable=False),
    Column("hold", String(36), nullable=False),
    Column("open_consumer", String(36)),
    Column("open_hold", String(36)),
    Column("credited", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("global_request_id", String(64)),
    Column("project_id", String(255)),
    Column("user_id", String(255)),
    Column("source", _long_text),
    Column("created_at", _moment, nullable=False),
    Column("updated_at", _moment, nullable=False),
    Column("last_step", String(20)),
    Column("step_generation", Integer),
    Column("digest", String(64)),
    Column("request", _long_text),
    Column("destination", _long_text),
    Column("alternates", _long_text),
    Column("tried", _long_text),
    Column("deadline", _moment),
    Column("due_at", _moment),
    Column("outcome", _long_text),
    UniqueConstraint("uuid", name="uniq_moorage_moves0uuid"),
    UniqueConstraint("open_consumer", name="uniq_moorage_moves0open_consumer"),
    UniqueConstraint("open_hold", name="uniq_moorage_moves0open_hold"),
    Index("moorage_moves_consumer_idx", "consumer", "id"),
    Index("moorage_moves_hold_idx", "hold", "id"),
    Index("moorage_moves_state_idx", "state", "id"),
    Index("moorage_moves_due_at_idx", "due_at"),
    sqlite_autoincrement=True,
    **_MARIADB,
)
"""Moves, open and over; ``open_consumer`` and ``open_hold`` are empty once a move is over.

So a consumer is in one open move at most, whichever process asks. From ``last_step`` on it is about
moves that were ordered; ``due_at`` is the deadline as long as nobody has been alerted to it.
"""

moorage_credits = Table(
    "moorage_credits",
    metadata,
    Column("move", String(36), primary_key=True),
    Column("resource_provider_id", Integer, primary_key=True, autoincrement=False),
    Column("resource_class_id", Integer, primary_key=True, autoincrement=False),
    Column("used", BigInteger, nullable=False),
    Index(
        "moorage_credits_provider_class_used_idx",
        "resource_provider_id",
        "resource_class_id",
        "used",
    ),
    **_MARIADB,
)
"""What both consumers of an open move hold on a sharing provider, and what counts once."""

MOORAGE_TABLES: Final = (
    moorage_usages,
    moorage_journal,
    moorage_journal_counts,
    moorage_leases,
    moorage_leaders,
    moorage_undo,
    moorage_moves,
    moorage_credits,
)
