"""The books that a command works on: those of the database that ``moorage serve`` has."""

from collections.abc import Iterator
from contextlib import contextmanager

from moorage.operations.services import Services
from moorage.settings import load_settings
from moorage.store.dialects.urls import sqlite_file


class BooksAbsent(Exception):
    """The file that the books should be in is not there."""


@contextmanager
def open_books() -> Iterator[Services]:
    """The operations' services on the configured database, for as long as the block runs.

    Raises:
        BooksAbsent: an empty database made now would have nothing wrong with it, and be taken for
            the site's.
    """
    from moorage.serve import build_services, open_ready_store  # noqa: PLC0415 - slow to import

    settings = load_settings().settings
    database = settings.database
    file = sqlite_file(database.url)
    if file is not None and not file.exists():
        raise BooksAbsent(
            "the file that [placement_database]connection names is not there"
            if database.embedded_file is None
            else f"nothing has been served from {file} yet; if the site has another database,"
            " name it in [placement_database]connection"
        )
    store = open_ready_store(database)
    try:
        yield build_services(store, settings)
    finally:
        store.close()
