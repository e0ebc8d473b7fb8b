"""The books that a command works on: those of the database that ``moorage serve`` has."""

from collections.abc import Iterator
from contextlib import contextmanager

from moorage.operations.services import Services
from moorage.settings import load_settings


@contextmanager
def open_books() -> Iterator[Services]:
    """The operations' services on the configured database, for as long as the block runs."""
    from moorage.serve import build_services, open_ready_store  # noqa: PLC0415 - slow to import

    settings = load_settings().settings
    store = open_ready_store(settings.database)
    try:
        yield build_services(store, settings)
    finally:
        store.close()
