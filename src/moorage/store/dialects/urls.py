"""From the connection URL of a site's configuration to the URL of the driver that we use."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVERS: Final = {
    "sqlite": "sqlite",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
_MYSQLCLIENT: Final = "mysql+mysqldb"
_COMMON: Final = frozenset(
    (
        "charset",
        "connect_timeout",
        "read_timeout",
        "ssl_ca",
        "ssl_cert",
        "ssl_key",
        "unix_socket",
        "write_timeout",
    )
)
"""Parameters that mean the same to PyMySQL and mysqlclient."""

_KEPT: Final = frozenset(("mysql+mysqldb", "mariadb+mysqldb"))
"""Drivers of a site's choice that we do not bring along but leave in place."""

_IN_MEMORY: Final = frozenset((None, "", ":memory:"))
"""What SQLite takes for a database in memory, of which each connection would have its own."""

_DROPPED: Final = frozenset(("plugin",))
"""Parameters that only upstream's own environment can act on."""


def driver_url(connection: str, parameters: str = "") -> str:
    """The URL to open a database with.

    Args:
        connection: as in ``[placement_database]connection``, with any driver or none.
        parameters: as in ``connection_parameters``: ``a=1&b=2``, added to the URL's own.
    Returns:
        A URL that holds a password as it stands: for ``create_engine``, never for a log.
    Raises:
        ValueError: it is no URL, or names a kind of database that we do not support, or none in
            a file. The message says nothing of the URL beyond that kind.
    """
    try:
        url = make_url(connection)
    except (ArgumentError, ValueError):
        raise ValueError("it is not a database URL") from None
    if url.drivername not in _KEPT:
        backend = url.get_backend_name()
        if backend not in _DRIVERS:
            raise ValueError("use a URL that starts with sqlite, postgresql or mysql")
        if backend == "sqlite" and url.database in _IN_MEMORY:
            raise ValueError("SQLite has to be in a file: sqlite:////PATH")
        url = url.set(drivername=_DRIVERS[backend])
    added = {name: value for name, value in parse_qsl(parameters) if name not in url.query}
    url = url.update_query_dict(added).difference_update_query(_DROPPED)
    if url.drivername == _DRIVERS["mysql"] and _suits_mysqlclient(url) and find_spec("MySQLdb"):
        url = url.set(drivername=_MYSQLCLIENT)
    return url.render_as_string(hide_password=False)


def _suits_mysqlclient(url: URL) -> bool:
    """Whether mysqlclient, which is in C, would do the same with a URL as PyMySQL does.

    It takes ``localhost`` for a socket where PyMySQL takes it for a port.
    """
    by_name = url.host not in (None, "localhost") or "unix_socket" in url.query
    return by_name and _COMMON.issuperset(url.query)


def embedded_url(file: Path) -> str:
    """The URL of an embedded database in a file."""
    return URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)


def sqlite_file(connection: str) -> Path | None:
    """The file that a URL of ours keeps the database in; None where a server has it."""
    url = make_url(connection)
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith("file:"):
        return None
    return Path(url.database)
