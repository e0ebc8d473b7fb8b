"""The books that a command works on: those of the database that ``moorage serve`` has."""

from collections.abc import Iterator
from contextlib import contextmanager

from moorage.operations.services import Services
from moorage.settings import load_settings


class BooksAbsent(Exception):
    """No database is configured, and none was made by serving without one."""


@contextmanager
def open_books() -> Iterator[Services]:
    """The operations' services on the configured database, for as long as the block runs.

    Raises:
        BooksAbsent: an empty database made now would have nothing wrong with it, and be taken for
            the site's.
    """
    from moorage.serve import build_services, open_ready_store  # noqa: PLC0415 - slow to import

    settings = load_settings().settings
    embedded = settings.database.embedded_file
    if embedded is not None and not embedded.exists():
        raise BooksAbsent(
            f"nothing has been served from {embedded} yet; if the site has another database,"
            " name it in [placement_database]connection"
        )
    store = open_ready_store(settings.database)
    try:
        yield build_services(store, settings)
    finally:
        store.close()
