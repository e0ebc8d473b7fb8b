"""What differs between the databases, and nothing else."""

from moorage.store.dialects.base import (
    Command,
    Dialect,
    Order,
    Reader,
    Rows,
    RowsChange,
    Session,
    StaleView,
    Trouble,
    trouble_of,
)
from moorage.store.dialects.choose import dialect_for

__all__ = [
    "Command",
    "Dialect",
    "Order",
    "Reader",
    "Rows",
    "RowsChange",
    "Session",
    "StaleView",
    "Trouble",
    "dialect_for",
    "trouble_of",
]
