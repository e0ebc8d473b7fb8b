"""From a database URL to the dialect that serves it."""

from sqlalchemy import URL

from moorage.store.dialects.base import Dialect
from moorage.store.dialects.mariadb import MariaDB
from moorage.store.dialects.postgresql import PostgreSQL
from moorage.store.dialects.sqlite import SQLite


def dialect_for(url: URL) -> Dialect:
    """The dialect of a URL.

    Raises:
        ValueError: no dialect of ours serves this kind of database.
    """
    backend = url.get_backend_name()
    if backend == "sqlite":
        return SQLite()
    if backend == "postgresql":
        return PostgreSQL()
    if backend in ("mysql", "mariadb"):
        return MariaDB()
    raise ValueError(
        f"no support for a database of kind {backend!r}: use sqlite, postgresql or mysql"
    )
