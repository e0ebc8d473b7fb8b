"""Bringing a database to the schema of this release, and what every database must know."""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import os_resource_classes
import os_traits
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from moorage.domain.ids import SHARING_TRAIT
from moorage.domain.origin import Origin
from moorage.store.dialects import Trouble, trouble_of
from moorage.store.journal import RECOUNT_KIND, Entry, write_journal
from moorage.store.names import load_names
from moorage.store.sql import Insert, LockingLoad, Write
from moorage.store.store import Store
from moorage.store.tables import PLACEMENT_TABLES, resource_classes, traits
from moorage.store.transaction import Transaction

VERSION_TABLE: Final = "moorage_alembic_version"
"""Our own, so that Placement's migrations and ours never mistake each other's."""


RACE_S_MAX: Final = 120.0
"""How long two processes may be in each other's way while both migrate."""

RACE_PAUSE_S: Final = 0.5

RACED_MARK: Final = "expected to match one row when"
"""What Alembic says where another process has moved the mark of the revision."""


class ForeignSchema(Exception):
    """The database holds Placement's tables in a shape that this release does not know."""


class SchemaOutdated(Exception):
    """The database has not been brought to this release's schema."""


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Revision of the database (None: never touched by Moorage) and of this release."""

    found: str | None
    wanted: str

    @property
    def current(self) -> bool:
        return self.found == self.wanted


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def wanted_revision() -> str:
    """The revision of this release."""
    wanted = ScriptDirectory.from_config(_config()).get_current_head()
    assert wanted is not None
    return wanted


def status(store: Store) -> SchemaStatus:
    """How far the database's schema is."""

    def read(connection: Connection) -> str | None:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision()

    return SchemaStatus(store.read_with(read), wanted_revision())


def upgrade(store: Store, *, at: datetime) -> SchemaStatus:
    """Create or adopt the schema, and add the standard names that are missing.

    Safe to run again, and by several processes at once: one of them does it, the others find it
    done.

    Raises:
        ForeignSchema: Placement's tables are older than this release can adopt.
    """
    deadline = time.monotonic() + RACE_S_MAX
    while not status(store).current:
        try:
            with store.writer.begin() as connection, store.dialect.turn(connection):
                check_adoptable(connection)
                command.upgrade(_config(connection), "head")
            recount(store, at=at)
        except DBAPIError as error:
            # The turn is kept within one server: on another node of a cluster somebody may be
            # making the same tables. What is there is taken, and the rest made.
            if (
                trouble_of(store.dialect, error) is not Trouble.CONFLICT
                or time.monotonic() > deadline
            ):
                raise
            time.sleep(RACE_PAUSE_S)
        except CommandError as error:
            # The same of the mark of the revision, which somebody has moved on meanwhile.
            if RACED_MARK not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(RACE_PAUSE_S)
    sync_names(store, at=at)
    return status(store)


def make_ready(store: Store, *, at: datetime) -> None:
    """What every process does before it serves: see that the schema fits, add standard names.

    Raises:
        SchemaOutdated: the database must be upgraded first.
    """
    found = status(store)
    if not found.current:
        raise SchemaOutdated(
            f"the database's schema is at {found.found or 'nothing of ours'}, this release needs "
            f"{found.wanted}: run 'moorage db upgrade'"
        )
    sync_names(store, at=at)


def _has_rows(connection: Connection, present: set[str], table: str) -> bool:
    return (
        table in present and connection.execute(text(f"SELECT 1 FROM {table}")).first() is not None
    )


_OLD_ROWS: Final = {
    "there is a provider without a root": text(
        "SELECT p.id FROM resource_providers p WHERE p.root_provider_id IS NULL LIMIT 1"
    ),
    "there is an allocation without a consumer": text(
        """SELECT a.id FROM allocations a
           LEFT JOIN consumers c ON c.uuid = a.consumer_id WHERE c.id IS NULL LIMIT 1"""
    ),
}


def check_adoptable(connection: Connection) -> None:
    """Refuse a Placement database that lacks a column this release works with.

    Raises:
        ForeignSchema: names what is missing and what to do.
    """
    inspector = inspect(connection)
    present = set(inspector.get_table_names())
    if "resource_providers" not in present:
        return
    if VERSION_TABLE in present and not _has_rows(connection, present, "alembic_version"):
        return  # a migration of ours that was broken off, or is under way on another node
    for table in PLACEMENT_TABLES:
        if table.name not in present:
            raise ForeignSchema(
                f"the table {table.name} is missing: bring the database to Placement's newest "
                "schema first (placement-manage db sync)"
            )
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        missing = [column.name for column in table.columns if column.name not in columns]
        if missing:
            raise ForeignSchema(
                f"the table {table.name} has no column {missing[0]}: bring the database to "
                "Placement's newest schema first (placement-manage db sync)"
            )
    for fault, rows in _OLD_ROWS.items():
        if connection.execute(rows).first() is not None:
            raise ForeignSchema(
                f"{fault}, as releases before Train left behind: mend the database first "
                "(placement-manage db online_data_migrations)"
            )


_DROP_TOTALS = Write("DELETE FROM moorage_usages")
_COUNT_TOTALS = Write(
    """INSERT INTO moorage_usages (resource_provider_id, resource_class_id, used)
       SELECT i.resource_provider_id, i.resource_class_id,
              COALESCE(SUM(a.used), 0) - COALESCE(MAX(k.used), 0)
       FROM inventories i
       LEFT JOIN allocations a ON a.resource_provider_id = i.resource_provider_id
                              AND a.resource_class_id = i.resource_class_id
       LEFT JOIN (SELECT resource_provider_id, resource_class_id, SUM(used) AS used
                  FROM moorage_credits GROUP BY resource_provider_id, resource_class_id) k
              ON k.resource_provider_id = i.resource_provider_id
             AND k.resource_class_id = i.resource_class_id
       GROUP BY i.resource_provider_id, i.resource_class_id"""
)
# Another service that wrote allocations knew nothing of moves: what is left of them is made true.
_MEND_MOVES = (
    Write(
        """UPDATE moorage_moves
           SET state = 'abandoned', credited = 0, generation = generation + 1,
               open_consumer = NULL, open_hold = NULL, due_at = NULL, updated_at = :at
           WHERE open_hold IS NOT NULL AND kind <> 'unshelve'
             AND NOT EXISTS (SELECT 1 FROM allocations a WHERE a.consumer_id = open_hold)"""
    ),
    Write(
        """UPDATE moorage_moves
           SET state = 'swapped', credited = 0, generation = generation + 1, updated_at = :at
           WHERE state IN ('claimed', 'started')
             AND NOT EXISTS (SELECT 1 FROM allocations a WHERE a.consumer_id = open_consumer)"""
    ),
    Write(
        """UPDATE moorage_moves
           SET state = 'claimed', generation = generation + 1, updated_at = :at
           WHERE state = 'swapped'
             AND EXISTS (SELECT 1 FROM allocations a WHERE a.consumer_id = open_consumer)"""
    ),
)
_DROP_CREDITS = Write("DELETE FROM moorage_credits")
_COUNT_CREDITS = Write(
    """INSERT INTO moorage_credits (move, resource_provider_id, resource_class_id, used)
       SELECT m.uuid, a.resource_provider_id, a.resource_class_id,
              MIN(CASE WHEN a.used < b.used THEN a.used ELSE b.used END)
       FROM moorage_moves m
       JOIN allocations a ON a.consumer_id = m.open_consumer
       JOIN allocations b ON b.consumer_id = m.open_hold
                         AND b.resource_provider_id = a.resource_provider_id
                         AND b.resource_class_id = a.resource_class_id
       JOIN resource_provider_traits l ON l.resource_provider_id = a.resource_provider_id
       JOIN traits n ON n.id = l.trait_id AND n.name = :sharing
       WHERE m.credited = 1
       GROUP BY m.uuid, a.resource_provider_id, a.resource_class_id"""
)
_LOCK_ALL = LockingLoad("SELECT p.id FROM resource_providers p ORDER BY p.id", index="")


_ADD_TRAITS = Insert(traits, ("name", "created_at"))
_ADD_CLASSES = Insert(resource_classes, ("id", "name", "created_at"))


def recount(store: Store, *, at: datetime) -> None:
    """Make the running totals and credits what the allocations say, whoever wrote those.

    Safe while the service runs: it waits for all claims, and all processes hear of it.
    """
    origin = Origin("moorage-recount", None, None, None, at)

    def attempt(tx: Transaction) -> None:
        tx.load(_LOCK_ALL)
        for mend in _MEND_MOVES:
            tx.write(mend, {"at": at})
        tx.write(_DROP_CREDITS)
        tx.write(_COUNT_CREDITS, {"sharing": SHARING_TRAIT})
        tx.write(_DROP_TOTALS)
        tx.write(_COUNT_TOTALS)
        write_journal(tx, [Entry(RECOUNT_KIND, "usages", ())], origin)

    store.run(attempt)


def sync_names(store: Store, *, at: datetime) -> None:
    """Add the standard traits and resource classes that the database does not know yet."""

    def attempt(tx: Transaction) -> None:
        known_traits = load_names(tx, traits)
        tx.insert(
            _ADD_TRAITS,
            [
                {"name": name, "created_at": at}
                for name in sorted(os_traits.get_traits())
                if name not in known_traits
            ],
        )
        known_classes = load_names(tx, resource_classes)
        tx.insert(
            _ADD_CLASSES,
            [
                {"id": place, "name": name, "created_at": at}
                for place, name in enumerate(os_resource_classes.STANDARDS)
                if name not in known_classes
            ],
        )
        # Processes of the release before this one serve on: they are to learn the new names too.
        added = {
            "trait.sync": sorted(set(os_traits.get_traits()) - set(known_traits)),
            "class.sync": sorted(set(os_resource_classes.STANDARDS) - set(known_classes)),
        }
        entries = [
            Entry(kind, "standard", (), None, names) for kind, names in added.items() if names
        ]
        write_journal(tx, entries, Origin("moorage-sync", None, None, None, at))

    store.run(attempt)
