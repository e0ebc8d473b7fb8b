"""The same books for the other contestant, by the shortest way: its tables are Moorage's."""

from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy
from sqlalchemy import Connection, RowMapping, Table, text

from moorage.store.tables import PLACEMENT_TABLES

ROWS_AT_ONCE: Final = 10_000


def copy_books(source_url: str, target_url: str) -> None:
    """Replace all rows of Placement's tables in the target with those of the source."""
    source = sqlalchemy.create_engine(source_url, poolclass=sqlalchemy.NullPool)
    target = sqlalchemy.create_engine(target_url, poolclass=sqlalchemy.NullPool)
    ordered = [
        table for table in PLACEMENT_TABLES[0].metadata.sorted_tables if table in PLACEMENT_TABLES
    ]
    with source.connect() as reader, target.begin() as writer:
        if writer.dialect.name != "postgresql":
            # The id of VCPU is 0, which MariaDB takes for "the next one" otherwise.
            writer.execute(
                text("SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')")
            )
        for table in reversed(ordered):
            if "parent_provider_id" in table.c:
                # Providers refer to one another: these links go before the rows do.
                writer.execute(
                    table.update().values(parent_provider_id=None, root_provider_id=None)
                )
            writer.execute(table.delete())
        for table in ordered:
            for rows in _batches(reader, table):
                writer.execute(table.insert(), [dict(row) for row in rows])
            if writer.dialect.name == "postgresql" and "id" in table.c:
                _move_sequence(writer, table)


def _batches(reader: Connection, table: Table) -> Iterator[Sequence[RowMapping]]:
    # By id, in which providers come after their parents.
    order = [table.c.id] if "id" in table.c else list(table.primary_key)
    result = reader.execution_options(yield_per=ROWS_AT_ONCE).execute(
        table.select().order_by(*order)
    )
    yield from result.mappings().partitions()


def _move_sequence(writer: Connection, table: Table) -> None:
    """Let the ids that are given out from now on begin behind those that were copied."""
    writer.execute(
        text(
            f"""SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), MAX(id))
                FROM {table.name} HAVING MAX(id) > 0"""
        )
    )
