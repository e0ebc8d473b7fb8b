"""Operations on a real database, without HTTP: for tests of the store and the operations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import event, text

from moorage.candidates.request import SearchRules
from moorage.coherence.keeper import Keeper
from moorage.coherence.project_sums import ProjectSums
from moorage.domain.claim import Absentee, ConsumerClaim
from moorage.domain.ids import SHARING_TRAIT, ConsumerUuid, ProviderUuid
from moorage.domain.inventory import Inventory
from moorage.domain.origin import Origin
from moorage.operations.claim import claim
from moorage.operations.claim_queue import ClaimQueue
from moorage.operations.create_provider import create_provider
from moorage.operations.provider_queue import ProviderQueue
from moorage.operations.services import Rules, Services
from moorage.operations.set_inventories import set_inventories
from moorage.operations.set_provider_traits import set_provider_traits
from moorage.operations.show_provider import show_provider
from moorage.store import migrate
from moorage.store.dialects import Rows
from moorage.store.sql import Write
from moorage.store.store import Store
from moorage.store.transaction import Transaction, session_of
from tests.support.ids import new_uuid

ABSENTEE = Absentee("absent-project", "absent-user")


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def origin() -> Origin:
    return Origin(f"req-{new_uuid()}", None, "project", "user", now())


def open_services(url: str, *, upgrade: bool = True) -> Services:
    """The operations' services on a database, its schema in place."""
    store = Store.open(url)
    if upgrade:
        migrate.upgrade(store, at=now())
    return services_on(store)


def services_on(store: Store) -> Services:
    return Services(
        store=store,
        keeper=Keeper(store),
        sums=ProjectSums(store),
        claims=ClaimQueue(store, ABSENTEE),
        providers=ProviderQueue(store),
        rules=Rules(ABSENTEE, SearchRules()),
        clock=now,
        new_random=np.random.default_rng,
    )


def add_host(services: Services, inventories: Mapping[str, Inventory]) -> ProviderUuid:
    """A new root provider with these inventories."""
    key = new_uuid()
    create_provider(services, uuid=key, name=f"host-{key}", parent_uuid=None, origin=origin())
    set_inventories(
        services,
        provider=key,
        generation=0,
        inventories=inventories,
        reserved_may_be_total=True,
        origin=origin(),
    )
    return ProviderUuid(key)


def share(services: Services, provider: str) -> None:
    """Make a provider one that shares its inventories."""
    generation = show_provider(services, provider).generation
    set_provider_traits(
        services, provider=provider, generation=generation, traits=[SHARING_TRAIT], origin=origin()
    )


def claim_for(
    consumer: str,
    resources: Mapping[str, Mapping[str, int]],
    *,
    generation: int | None = None,
    checks: bool = True,
) -> ConsumerClaim:
    given = {ProviderUuid(key): dict(held) for key, held in resources.items()}
    return ConsumerClaim(
        ConsumerUuid(consumer), given, "project", "user", checks, generation, "INSTANCE"
    )


def forget_totals(services: Services) -> None:
    """Leave the journal as older versions write it: claims do not say what totals became."""
    services.store.run(lambda tx: tx.write(Write("UPDATE moorage_journal SET totals = NULL")))


def hold(services: Services, *claims: ConsumerClaim) -> None:
    claim(services, claims, origin())


@contextmanager
def open_transaction(services: Services) -> Iterator[Transaction]:
    """A transaction that stays open meanwhile, and is committed afterwards."""
    store = services.store
    connection = store.writer.raw_connection()
    try:
        tx = Transaction(store.dialect, store.memory, session_of(connection, store.dialect))
        yield tx
        tx.send(commit=True)
    finally:
        connection.close()


@contextmanager
def counted_statements(services: Services) -> Iterator[list[str]]:
    """Every statement that the services send meanwhile; one thread uses them."""
    sent: list[str] = []
    read_lean = services.store.read_lean
    is_lean = False

    def note(_c: Any, _u: Any, statement: str, *_rest: Any) -> None:
        if not is_lean:
            sent.append(statement)

    def note_lean(sql: str, parameters: tuple[int | str, ...], **how: bool) -> Any:
        nonlocal is_lean
        sent.append(sql)
        # The first of a connection is run in the usual way: it is one statement all the same.
        is_lean = True
        try:
            return read_lean(sql, parameters, **how)
        finally:
            is_lean = False

    sends = Transaction.send

    def note_waiting(tx: Transaction, *, commit: bool = False) -> list[Rows]:
        sent.extend(order.command.sql for order in tx.waiting)
        return sends(tx, commit=commit)

    event.listen(services.store.reader, "before_cursor_execute", note)
    Transaction.send = note_waiting  # type: ignore[method-assign]
    services.store.read_lean = note_lean  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        del services.store.read_lean
        Transaction.send = sends  # type: ignore[method-assign]
        event.remove(services.store.reader, "before_cursor_execute", note)


def count_statements(services: Services, work: Callable[[], object]) -> int:
    with counted_statements(services) as sent:
        work()
    return len(sent)


def count_sendings(work: Callable[[], object]) -> int:
    """How often transactions wait for the database meanwhile."""
    sends = Transaction.send
    count = 0

    def note(tx: Transaction, *, commit: bool = False) -> list[Rows]:
        nonlocal count
        count += bool(tx.waiting or (commit and tx.begun))
        return sends(tx, commit=commit)

    Transaction.send = note  # type: ignore[method-assign]
    try:
        work()
    finally:
        Transaction.send = sends  # type: ignore[method-assign]
    return count


def find_faults(services: Services) -> Sequence[str]:
    """What is wrong with the books: totals that are no sums, rows that miss their partner."""
    checks = {
        "a total is not the sum of its allocations": """
            SELECT u.resource_provider_id FROM moorage_usages u WHERE u.used <>
              (SELECT COALESCE(SUM(a.used), 0) FROM allocations a
               WHERE a.resource_provider_id = u.resource_provider_id
                 AND a.resource_class_id = u.resource_class_id) -
              (SELECT COALESCE(SUM(k.used), 0) FROM moorage_credits k
               WHERE k.resource_provider_id = u.resource_provider_id
                 AND k.resource_class_id = u.resource_class_id)""",
        "an inventory has no total": """
            SELECT i.id FROM inventories i WHERE NOT EXISTS
              (SELECT 1 FROM moorage_usages u
               WHERE u.resource_provider_id = i.resource_provider_id
                 AND u.resource_class_id = i.resource_class_id)""",
        "a total has no inventory": """
            SELECT u.resource_provider_id FROM moorage_usages u WHERE NOT EXISTS
              (SELECT 1 FROM inventories i
               WHERE u.resource_provider_id = i.resource_provider_id
                 AND u.resource_class_id = i.resource_class_id)""",
        "an allocation has no inventory": """
            SELECT a.id FROM allocations a WHERE NOT EXISTS
              (SELECT 1 FROM inventories i
               WHERE a.resource_provider_id = i.resource_provider_id
                 AND a.resource_class_id = i.resource_class_id)""",
        "an allocation has no consumer": """
            SELECT a.id FROM allocations a WHERE NOT EXISTS
              (SELECT 1 FROM consumers c WHERE c.uuid = a.consumer_id)""",
        "a consumer holds nothing": """
            SELECT c.id FROM consumers c WHERE NOT EXISTS
              (SELECT 1 FROM allocations a WHERE c.uuid = a.consumer_id)""",
        "a credit is not what both consumers of its move have": """
            SELECT k.move FROM moorage_credits k
            LEFT JOIN moorage_moves m ON m.uuid = k.move AND m.credited = 1
            LEFT JOIN allocations a ON a.consumer_id = m.open_consumer
              AND a.resource_provider_id = k.resource_provider_id
              AND a.resource_class_id = k.resource_class_id
            LEFT JOIN allocations b ON b.consumer_id = m.open_hold
              AND b.resource_provider_id = k.resource_provider_id
              AND b.resource_class_id = k.resource_class_id
            WHERE m.id IS NULL OR k.used <> COALESCE(
              CASE WHEN a.used < b.used THEN a.used ELSE b.used END, 0)""",
        "what a credited move has in common on a sharing provider counts twice": """
            SELECT m.id FROM moorage_moves m
            JOIN allocations a ON a.consumer_id = m.open_consumer
            JOIN allocations b ON b.consumer_id = m.open_hold
              AND b.resource_provider_id = a.resource_provider_id
              AND b.resource_class_id = a.resource_class_id
            JOIN resource_provider_traits l ON l.resource_provider_id = a.resource_provider_id
            JOIN traits n ON n.id = l.trait_id AND n.name = 'MISC_SHARES_VIA_AGGREGATE'
            WHERE m.credited = 1 AND NOT EXISTS
              (SELECT 1 FROM moorage_credits k WHERE k.move = m.uuid
                 AND k.resource_provider_id = a.resource_provider_id
                 AND k.resource_class_id = a.resource_class_id)""",
        "an open move has no hold": """
            SELECT m.id FROM moorage_moves m WHERE m.open_consumer IS NOT NULL
              AND m.kind <> 'unshelve' AND NOT EXISTS
              (SELECT 1 FROM allocations a WHERE a.consumer_id = m.open_hold)""",
        "a move's state is not that of its consumers": """
            SELECT m.id FROM moorage_moves m WHERE
              (m.state IN ('swapped', 'claimed', 'started')) <> (m.open_consumer IS NOT NULL)
              OR (m.open_consumer IS NULL) <> (m.open_hold IS NULL)
              OR (m.state IN ('claimed', 'started')) <> EXISTS
                 (SELECT 1 FROM allocations a WHERE a.consumer_id = m.open_consumer)""",
        "a root is not its own root": """
            SELECT p.id FROM resource_providers p
            WHERE p.parent_provider_id IS NULL AND p.root_provider_id <> p.id""",
        "a child has another root than its parent": """
            SELECT p.id FROM resource_providers p
            JOIN resource_providers parent ON parent.id = p.parent_provider_id
            WHERE p.root_provider_id <> parent.root_provider_id""",
    }
    return [fault for fault, query in checks.items() if services.store.read(text(query))]
