"""Requests that end in the middle of their work, at each point where they could."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from moorage.operations.services import Services
from moorage.store.transaction import Transaction

TABLES = (
    "allocations",
    "consumers",
    "moorage_credits",
    "moorage_journal",
    "moorage_moves",
    "moorage_usages",
    "resource_providers",
)
POINTS_MAX = 100
"""More points at which a request can break than any has."""


class Broken(Exception):
    """The end of a request in the middle of its work."""


@contextmanager
def breaking(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[list[str]]:
    """The work of a transaction ends once it has sent so many orders, loads and writes alike.

    Orders are sent one by one, so that each is a point to break at. Gives what was sent.
    """
    sent: list[str] = []
    real = Transaction.send

    def send(tx: Transaction, *, commit: bool = False) -> Any:
        orders, tx.waiting = tx.waiting, []
        found: list[Any] = []
        for order in orders:
            if len(sent) >= after:
                raise Broken
            sent.append(order.command.sql)
            tx.waiting = [order]
            found += real(tx)
        if commit:
            if len(sent) >= after:
                raise Broken
            sent.append("COMMIT")
            real(tx, commit=True)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "send", send)
        yield sent


def everything(services: Services) -> dict[str, list[Any]]:
    return {
        name: [tuple(row) for row in services.store.read(text(f"SELECT * FROM {name}"))]
        for name in TABLES
    }


def break_everywhere(
    services: Services,
    step: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    before: dict[str, list[Any]],
) -> int:
    """Break a step at its first point, at its second, and so on, until it comes to its end."""
    for after in range(POINTS_MAX):
        with breaking(monkeypatch, after) as sent:
            try:
                step()
            except Broken:
                pass
            else:
                assert sent[-1] == "COMMIT"
                return after
        assert everything(services) == before
    raise AssertionError("the step never ends")
