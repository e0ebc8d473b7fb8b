"""What differs between the databases, and nothing else."""

from moorage.store.dialects.base import Dialect, Trouble
from moorage.store.dialects.choose import dialect_for

__all__ = ["Dialect", "Trouble", "dialect_for"]
