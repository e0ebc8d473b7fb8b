"""What may be told in a log line, field by field.

Nothing is masked here: a value is either of a shape that its field allows, and is told, or it is
not told at all. Text that others wrote (a message of a library, of the database, of an exception)
is never told; its place in the code is.
"""

import re
import traceback
from functools import lru_cache
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final

METHODS: Final = frozenset(
    ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT")
)

_REQUEST_ID: Final = re.compile(r"req-[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}")
# Keystone's ids are 32 hexadecimal digits or at most 64 plain characters; its tokens are longer.
_PROJECT_ID: Final = re.compile(r"[0-9A-Za-z_.-]{1,64}")
_MICROVERSION: Final = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}")
_DRIVERS: Final = ("psycopg", "pymysql", "MySQLdb", "sqlite3")
_DATABASE_CODE: Final = re.compile(r"[0-9A-Z]{5}|SQLITE_[A-Z_]{1,40}")
_DATABASE_NUMBERS: Final = 100_000
_SOURCE_ROOTS: Final = ("site-packages", "dist-packages", "src")
_CAUSES_MAX: Final = 5

TOLD_MAX: Final = 256
"""Values of a field that are remembered to be of its shape, or not to be."""


def request_id_told(text: str | None) -> str | None:
    """A request id of OpenStack's shape, else None."""
    return text if text and _REQUEST_ID.fullmatch(text) else None


@lru_cache(maxsize=TOLD_MAX)
def project_id_told(text: str | None) -> str | None:
    """An id as Keystone gives them out, else None."""
    return text if text and _PROJECT_ID.fullmatch(text) else None


@lru_cache(maxsize=TOLD_MAX)
def microversion_told(text: str | None) -> str | None:
    """``major.minor``, else None."""
    return text if text and _MICROVERSION.fullmatch(text) else None


def method_told(text: str) -> str:
    """A method of HTTP, else ``OTHER``."""
    return text if text in METHODS else "OTHER"


def place_told(filename: str, line: int, function: str) -> str:
    """A place in the code, from the package's name on: ``moorage/store/store.py:12 open``."""
    parts = Path(filename).parts
    for root in _SOURCE_ROOTS:
        if root in parts:
            after = len(parts) - parts[::-1].index(root)
            return f"{'/'.join(parts[after:])}:{line} {function}"
    return f"{parts[-1] if parts else '?'}:{line} {function}"


def error_told(error: BaseException) -> dict[str, Any]:
    """An exception as facts: its type, the types of its causes, and the places it came through.

    Neither its message nor its arguments: those may hold SQL parameters, URLs or tokens. Of what a
    database said its number is told, by which its manual has the rest.
    """
    kinds: list[str] = []
    codes: list[str] = []
    step: BaseException | None = error
    while step is not None and len(kinds) < _CAUSES_MAX:
        kinds.append(f"{type(step).__module__}.{type(step).__qualname__}")
        codes += filter(None, [database_code_told(step)])
        step = step.__cause__ or step.__context__
    told: dict[str, Any] = {"error": kinds[0], "places": _places(error.__traceback__)}
    if len(kinds) > 1:
        told["causes"] = kinds[1:]
    if codes:
        told["database_code"] = codes[0]
    return told


def database_code_told(error: BaseException) -> str | None:
    """The number or short name by which a database's driver tells errors apart, else None."""
    if not type(error).__module__.startswith(_DRIVERS):
        return None
    number = error.args[0] if error.args else None
    if type(number) is int and 0 < number < _DATABASE_NUMBERS:
        return str(number)
    name = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
    return name if isinstance(name, str) and _DATABASE_CODE.fullmatch(name) else None


def _places(trace: TracebackType | None) -> list[str]:
    steps: list[tuple[FrameType, int]] = list(traceback.walk_tb(trace))
    return [
        place_told(frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in steps
    ]
