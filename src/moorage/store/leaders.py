"""Who does a job that only one process may do, among all processes on all machines."""

from dataclasses import dataclass
from typing import Final

from moorage.store.sql import Insert, LockingLoad, Write, query
from moorage.store.store import Store
from moorage.store.tables import moorage_leaders
from moorage.store.transaction import Transaction

_SQL: Final = "SELECT l.holder, l.beat FROM moorage_leaders l"
_READ: Final = query(f"{_SQL} WHERE l.name = :name")
_LOCK: Final = LockingLoad(f"{_SQL} {{hint}} WHERE l.name = :name", index="PRIMARY")
_INSERT: Final = Insert(moorage_leaders, ("name", "holder", "beat"))
_SET: Final = Write(
    "UPDATE moorage_leaders SET holder = :holder, beat = beat + 1 WHERE name = :name"
)
_RESIGN: Final = Write("DELETE FROM moorage_leaders WHERE name = :name AND holder = :holder")


@dataclass(frozen=True, slots=True)
class Leader:
    """Who holds a job, and how often it has said that it lives."""

    holder: str
    beat: int


def read_leader(store: Store, name: str) -> Leader | None:
    """Who holds a job, None: nobody."""
    rows = store.read(_READ, {"name": name})
    return Leader(rows[0].holder, rows[0].beat) if rows else None


def lock_leader(tx: Transaction, name: str) -> Leader | None:
    """Take a job's row; None: nobody holds the job."""
    rows = tx.load(_LOCK, {"name": name})
    return Leader(rows[0].holder, rows[0].beat) if rows else None


def write_leader(tx: Transaction, name: str, *, before: Leader | None, holder: str) -> None:
    """Say that the holder lives and has the job, which was locked as it was before."""
    if before is None:
        # Whoever inserts the row first makes the other start anew, and find it.
        tx.insert(_INSERT, [{"name": name, "holder": holder, "beat": 1}])
    else:
        tx.write(_SET, {"name": name, "holder": holder}, rows=1)


def delete_leader(tx: Transaction, name: str, *, holder: str) -> None:
    """Give a job up, so that another need not wait; nothing if somebody else has it."""
    tx.write(_RESIGN, {"name": name, "holder": holder})
