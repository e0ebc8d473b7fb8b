"""The auditor's checks of the books against the outside truth.

What it cannot see is unknown and never an orphan: a cell that does not answer, a host that nobody
listed, a consumer that changed within the age guard, a move in flight, what holds on a shared pool
alone, and consumers that are no instances.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from moorage.domain.audit import positions_on_two_trees, two_trees_finding
from moorage.domain.audit_moves import MIGRATION_TYPE, doubt_of_hold
from moorage.domain.audited import HEAL_KIND, AuditedConsumer, AuditRules, Trace
from moorage.domain.findings import Confidence, Doubt, Finding, Holds, Kind, Owner
from moorage.domain.ids import ConsumerUuid, ProviderId, ResourceClassId
from moorage.domain.ledger import Slot
from moorage.domain.outside import Migration, Outside, Server
from moorage.domain.survey import Survey

INSTANCE_TYPE: Final = "INSTANCE"
_NOVAS: Final = frozenset((None, INSTANCE_TYPE, MIGRATION_TYPE))


class Comparison:
    """The books beside what was said outside."""

    def __init__(
        self,
        survey: Survey,
        outside: Outside,
        rules: AuditRules,
        traces: Mapping[str, Sequence[Trace]],
    ) -> None:
        self.survey = survey
        self.outside = outside
        self._rules = rules
        self._traces = traces
        self._roots: dict[str, ProviderId] = {
            name: one.id
            for one in survey.books.providers.values()
            if one.root == one.id
            for name in one.names
        }
        self._members: dict[ProviderId, list[ProviderId]] = {}
        for one in survey.books.providers.values():
            self._members.setdefault(one.root, []).append(one.id)
        self._migrations_of: dict[str, list[Migration]] = {}
        for migration in outside.migrations.values():
            self._migrations_of.setdefault(migration.server, []).append(migration)
        self._class_ids = {name: key for key, name in survey.books.class_names.items()}

    def find(self) -> Iterator[Finding]:
        """All that differs, and all that cannot be judged."""
        for position, consumer in enumerate(self.survey.books.consumers):
            if not len(self.survey.rows_of(position)) or self._is_told(consumer):
                continue
            found = self._compare(position, consumer)
            if found is not None:
                yield found
        yield from self._two_trees()
        for server in self.outside.servers.values():
            found = self._missing(server)
            if found is not None:
                yield found

    def _is_told(self, consumer: AuditedConsumer) -> bool:
        """Whether it is known to be a hold, and judged as that."""
        return (
            consumer.uuid in self.outside.migrations or consumer.uuid in self.survey.ended_by_hold
        )

    def _compare(self, position: int, consumer: AuditedConsumer) -> Finding | None:
        server = self.outside.servers.get(consumer.uuid)
        if server is not None:
            return self._present(position, consumer, server)
        move = self.survey.open_by_hold.get(consumer.uuid)
        doubt: Doubt | None = Doubt.IN_FLIGHT
        if move is None or not (move.is_ordered or move.consumer in self.outside.servers):
            return self._absent(position, consumer, self.doubt_of_absence(position, consumer))
        if not move.is_ordered:
            doubt = doubt_of_hold(self.survey, self._rules, self.outside, move)
        # In flight it is what it should be; without a doubt it is told as a hold left over.
        if doubt is None or doubt is Doubt.IN_FLIGHT:
            return None
        return self._absent(position, consumer, doubt)

    # --- consumers that the outside does not name -------------------------------------------

    def _absent(self, position: int, consumer: AuditedConsumer, doubt: Doubt | None) -> Finding:
        evidence: dict[str, object] = {
            "held": self.survey.readable(self.survey.held(position)),
            "trees": self.survey.tree_names(self.survey.trees(position)),
            "outside_seen_at": self.outside.taken_at.isoformat(),
        }
        move = self.survey.open_by_hold.get(consumer.uuid)
        if move is not None:
            evidence["instance"] = move.consumer
        if doubt is not None:
            return self.survey.finding(
                Kind.UNSEEN,
                consumer,
                Confidence.UNKNOWN,
                "no server that was listed has its uuid, which says nothing here",
                evidence=evidence | {"unknown_because": doubt},
            )
        return self.survey.finding(
            Kind.ORPHAN,
            consumer,
            Confidence.CERTAIN,
            "no server has its uuid, though all that could have it were listed",
            evidence=evidence,
            holds=(self.survey.holds(position, {}),),
        )

    def doubt_of_absence(self, position: int, consumer: AuditedConsumer) -> Doubt | None:
        """Why a consumer that the outside does not name may still be alive; None: it cannot."""
        outside = self.outside
        if consumer.uuid in self.survey.in_ordered_moves:
            return Doubt.IN_FLIGHT
        if self._is_young(consumer):
            return Doubt.YOUNG
        if consumer.consumer_type not in _NOVAS:
            return Doubt.OTHER_TYPE
        unseen = self._doubt_of_trees(self.survey.trees(position))
        if unseen is not None:
            return unseen
        if not outside.servers_complete:
            return Doubt.SERVERS_UNLISTED
        if consumer.consumer_type != INSTANCE_TYPE and not outside.migrations_complete:
            return Doubt.MIGRATIONS_UNLISTED
        # The hold of an observed move lives as long as its instance, which may hold nothing.
        asked = {consumer.uuid}
        if consumer.uuid in self.survey.open_by_hold:
            asked.add(self.survey.open_by_hold[consumer.uuid].consumer)
        if outside.gone is not None and not asked <= outside.gone:
            return Doubt.NOT_ASKED
        return None

    def _doubt_of_trees(self, trees: Sequence[ProviderId]) -> Doubt | None:
        """Whether the hosts that a consumer holds on were all seen."""
        if not trees:
            return Doubt.POOL_ONLY
        for root in trees:
            names = self.survey.books.providers[root].names
            if not self.outside.sees_host(names):
                return Doubt.HOST_UNSEEN
            if self.outside.is_silent(names):
                return Doubt.CELL_SILENT
        return None

    def _is_young(self, consumer: AuditedConsumer) -> bool:
        return self._rules.is_young(consumer.touched_at, seen_at=self.outside.taken_at)

    # --- consumers that are servers ----------------------------------------------------------

    def _doubt_of_server(self, consumer: AuditedConsumer, server: Server) -> Doubt | None:
        """Why nothing can be said of a server that exists."""
        if self.outside.unseen(server):
            return Doubt.CELL_SILENT
        if self.outside.in_flight(server) or server.uuid in self.survey.in_ordered_moves:
            return Doubt.IN_FLIGHT
        return Doubt.YOUNG if self._is_young(consumer) else None

    def _present(self, position: int, consumer: AuditedConsumer, server: Server) -> Finding | None:
        if self._doubt_of_server(consumer, server) is not None:
            return None
        if server.host is None:
            return self._unplaced(position, consumer, server)
        root = self._roots.get(server.host)
        trees = self.survey.trees(position)
        if root is None or not trees:
            return None
        if root not in trees:
            return self.survey.finding(
                Kind.HELD_ELSEWHERE,
                consumer,
                Confidence.CERTAIN,
                "it holds nothing on the host that it runs on, but elsewhere",
                evidence={
                    "host": server.host,
                    "trees": self.survey.tree_names(trees),
                    "held": self.survey.readable(self.survey.held(position)),
                },
            )
        return self._amounts(position, consumer, server, root) if len(trees) == 1 else None

    def _unplaced(self, position: int, consumer: AuditedConsumer, server: Server) -> Finding:
        return self.survey.finding(
            Kind.HOLDS_UNPLACED,
            consumer,
            Confidence.LIKELY,
            "it is on no host and still holds something",
            evidence={
                "state": server.state,
                "held": self.survey.readable(self.survey.held(position)),
            },
            holds=(self.survey.holds(position, {}),),
        )

    def _two_trees(self) -> Iterator[Finding]:
        for position in positions_on_two_trees(self.survey):
            consumer = self.survey.books.consumers[position]
            server = self.outside.servers.get(consumer.uuid)
            if server is None:
                # A migration's hold, or none of the servers: judged as that.
                continue
            doubt = self._doubt_of_server(consumer, server)
            root = self._roots.get(server.host or "")
            trees = self.survey.trees(position)
            if doubt is None and root not in trees:
                continue  # told as held elsewhere
            holds: tuple[Holds, ...] = ()
            if doubt is None and root is not None:
                holds = (self.survey.holds(position, self._kept_on(position, root)),)
            yield two_trees_finding(
                self.survey,
                position,
                doubt,
                confidence=Confidence.CERTAIN,
                holds=holds,
                host=server.host,
                state=server.state,
            )

    def _kept_on(self, position: int, root: ProviderId) -> dict[Slot, int]:
        """What a consumer holds on one tree, and on the pools but those of other trees alone."""
        books = self.survey.books
        others = [tree for tree in self.survey.trees(position) if tree != root]
        serving = set(books.lenders.get(root, ()))
        left = {pool for tree in others for pool in books.lenders.get(tree, ())} - serving
        return {
            slot: amount
            for slot, amount in self.survey.held(position).items()
            if slot[0] not in left
            and (slot[0] not in books.providers or books.providers[slot[0]].root not in others)
        }

    # --- amounts -----------------------------------------------------------------------------

    def _amounts(
        self, position: int, consumer: AuditedConsumer, server: Server, root: ProviderId
    ) -> Finding | None:
        wrong = self._wrong_amounts(position, server)
        if not wrong:
            return None
        keeps = self._with_amounts(position, wrong, root)
        return self.survey.finding(
            Kind.AMOUNTS_DIFFER,
            consumer,
            Confidence.CERTAIN if self.outside.amounts_exact else Confidence.LIKELY,
            "it holds other amounts than its flavor asks for",
            evidence={
                "asked": {name: asked for name, (_, asked) in wrong.items()},
                "held": {name: held for name, (held, _) in wrong.items()},
                "host": server.host,
            },
            holds=() if keeps is None else (self.survey.holds(position, keeps),),
        )

    def _wrong_amounts(self, position: int, server: Server) -> dict[str, tuple[int, int]]:
        """(held, asked) by class where they differ; classes the flavor is silent about are not."""
        asked = dict(server.resources or {})
        held: dict[str, int] = {}
        for slot, amount in self.survey.held(position).items():
            if slot[0] not in self.survey.books.providers:
                continue  # told as held of nobody
            name = self.survey.books.class_names.get(slot[1], f"#{slot[1]}")
            held[name] = held.get(name, 0) + amount
        if not self.outside.amounts_exact:
            # Whether processors are shared or dedicated may be said by the image, unseen here.
            for amounts in (asked, held):
                if "VCPU" in amounts or "PCPU" in amounts:
                    amounts["VCPU"] = amounts.get("VCPU", 0) + amounts.pop("PCPU", 0)
        return {
            name: (held.get(name, 0), amount)
            for name, amount in asked.items()
            if held.get(name, 0) != amount
        }

    def _with_amounts(
        self, position: int, wrong: Mapping[str, tuple[int, int]], root: ProviderId
    ) -> dict[Slot, int] | None:
        """What the consumer holds with the amounts put right; None: it is not clear where."""
        keeps = self.survey.held(position)
        for name, (_, asked) in wrong.items():
            class_id = self._class_ids.get(name)
            if class_id is None:
                return None
            slots = [slot for slot in keeps if slot[1] == class_id]
            if len(slots) > 1:
                return None
            slot = slots[0] if slots else self._slot_for(name, root)
            if slot is None:
                return None
            keeps.pop(slot, None)
            if asked:
                keeps[slot] = asked
        return keeps

    def _slot_for(self, name: str, root: ProviderId) -> Slot | None:
        """The one place where a server on this host can hold a class; None: none, or several."""
        class_id = self._class_ids.get(name)
        if class_id is None:
            return None
        near = [*self._members.get(root, ()), *self.survey.books.lenders.get(root, ())]
        slots = [(provider, ResourceClassId(class_id)) for provider in near]
        stocked = [slot for slot in slots if self.survey.stocked(slot)]
        return stocked[0] if len(stocked) == 1 else None

    # --- servers that hold nothing -----------------------------------------------------------

    def _missing(self, server: Server) -> Finding | None:
        if not server.host or not server.resources or not any(server.resources.values()):
            return None
        if self.outside.unseen(server) or self.outside.in_flight(server):
            return None
        position = self.survey.position(server.uuid)
        if position is not None and len(self.survey.rows_of(position)):
            return None
        traces = self._traces.get(server.uuid, ())
        seen_at = self.outside.taken_at
        doubt = (
            Doubt.YOUNG
            if any(
                trace.kind != HEAL_KIND and self._rules.is_young(trace.at, seen_at=seen_at)
                for trace in traces
            )
            else None
        )
        root = self._roots.get(server.host)
        keeps = None if root is None or doubt else self._needed(server.resources, root)
        consumer = (
            AuditedConsumer(ConsumerUuid(server.uuid))
            if position is None
            else self.survey.books.consumers[position]
        )
        holds: tuple[Holds, ...] = ()
        held_by = self._held_for(server)
        if keeps and not held_by:
            owner = Owner(server.project_id, server.user_id)
            holds = (Holds(consumer.uuid, keeps, consumer.generation, owner),)
        return self.survey.finding(
            Kind.MISSING,
            consumer,
            Confidence.UNKNOWN
            if doubt
            else Confidence.CERTAIN
            if self.outside.amounts_exact
            else Confidence.LIKELY,
            "a server runs that holds nothing, so its host looks emptier than it is",
            evidence={
                "host": server.host,
                "asked": dict(server.resources),
                "journal": [trace.kind for trace in traces[-3:]],
                "held_by_its_migrations": held_by,
                **({"unknown_because": doubt} if doubt else {}),
            },
            holds=holds,
        )

    def _held_for(self, server: Server) -> list[str]:
        """Holds of a server's moves that hold something, and should give it back first."""
        told = [migration.uuid for migration in self._migrations_of.get(server.uuid, ())]
        moves = self.survey.open_moves
        known = (one.hold for one in moves if one.consumer == server.uuid)
        return [uuid for uuid in dict.fromkeys((*told, *known)) if self.survey.held_by(uuid)]

    def _needed(self, resources: Mapping[str, int], root: ProviderId) -> dict[Slot, int] | None:
        keeps: dict[Slot, int] = {}
        for name, amount in resources.items():
            if not amount:
                continue
            slot = self._slot_for(name, root)
            if slot is None:
                return None
            keeps[slot] = amount
        return keeps


def consumers_to_trace(survey: Survey, outside: Outside | None) -> list[str]:
    """The consumers that the journal is to be asked about before anything is said of them."""
    from_type = {one.uuid for one in survey.books.consumers if one.consumer_type == MIGRATION_TYPE}
    if outside is None:
        return sorted(from_type)
    silent = {
        server.uuid
        for server in outside.servers.values()
        if server.host
        and ((place := survey.position(server.uuid)) is None or not len(survey.rows_of(place)))
    }
    return sorted(from_type | silent)
