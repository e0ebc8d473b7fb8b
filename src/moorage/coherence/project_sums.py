"""What the consumers of a project hold together: added up once, then followed from the journal.

A quota check asks for it before every boot, and adding up ten thousand consumers each time would
be most of its cost.
"""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Final, NamedTuple

from moorage.coherence.watermark import START, Watermark
from moorage.domain.consumer import UsageGroup
from moorage.store.following import Found
from moorage.store.store import Store
from moorage.store.usages import (
    Holder,
    UsageChange,
    UsageRow,
    read_usage_changes,
    read_usage_picture,
)

PROJECTS_MAX: Final = 1_000
"""Projects whose sums a process keeps; the one that was not asked for longest goes first."""

USERS_MAX: Final = 20_000
"""Users of all these projects together; a project with more is added up each time."""

NEW_USERS_MAX: Final = 100
"""A project that has got so many users more than twice those it had is added up anew."""

CHANGES_MAX: Final = 5_000
"""More journal rows than this are not followed: adding up anew is cheaper."""

SILENCE_S_MAX: Final = 600.0
"""Sums that nobody asked for this long are added up anew, so that the journal may be trimmed."""

Groups = Mapping[str | None, UsageGroup]
"""By type of consumer; None: never given one."""


class _Group:
    """Consumers of one type: how many, and what they hold by class name."""

    __slots__ = ("consumers", "used")

    def __init__(self) -> None:
        self.consumers = 0
        self.used: Counter[str] = Counter()


_next_version = count(1).__next__


class SumsEvidence(NamedTuple):
    """A project, and a number that is new in this process whenever its sums may be others."""

    project_id: str
    version: int


class _Project:
    """The sums of one project: of all its users together, and of each."""

    def __init__(self, rows: Sequence[UsageRow]) -> None:
        self.version = _next_version()
        self.classes = {row.class_name for row in rows if row.class_name is not None}
        self.everyone: dict[str | None, _Group] = {}
        self.by_user: dict[str, dict[str | None, _Group]] = {}
        for row in rows:
            for group in self._groups_of(row.user_id, row.consumer_type):
                group.consumers += row.consumers
                if row.class_name is not None:
                    group.used[row.class_name] += row.used
        self._users_max = 2 * len(self.by_user) + NEW_USERS_MAX

    def enter(self, holder: Holder, sign: int) -> bool:
        """Add (1) or take away (-1) what a consumer holds; False: add all up anew instead.

        A class that the project had nothing of may have been renamed, or may have no name.
        """
        self.version = _next_version()
        held: Counter[str] = Counter()
        for amounts in holder.resources.values():
            held.update(amounts)
        if not held.keys() <= self.classes:
            return False
        if held:
            for group in self._groups_of(holder.user_id, holder.consumer_type):
                group.consumers += 0 if holder.is_credit else sign
                for name, amount in held.items():
                    group.used[name] += -sign * amount if holder.is_credit else sign * amount
        return len(self.by_user) <= self._users_max

    def shown(self, user_id: str | None) -> Groups:
        """The sums as they are now, of one user or of all together."""
        groups = self.everyone if user_id is None else self.by_user.get(user_id, {})
        return {
            kind: UsageGroup(
                kind or "", group.consumers, {name: n for name, n in group.used.items() if n}
            )
            for kind, group in groups.items()
            if group.consumers
        }

    def _groups_of(self, user_id: str | None, consumer_type: str | None) -> Sequence[_Group]:
        groups = [self.everyone.setdefault(consumer_type, _Group())]
        if user_id is not None:
            own = self.by_user.setdefault(user_id, {})
            groups.append(own.setdefault(consumer_type, _Group()))
        return groups


class ProjectSums:
    """The sums of the projects that one process is asked about.

    An answer holds every change that was committed before it was asked for: each asks the journal
    for the rows that are new. Rows say what a consumer held before and after, and sums do not
    mind their order, so that one which commits late is entered when it comes.
    """

    def __init__(self, store: Store, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """``clock_s``: monotonic, in seconds."""
        self._store = store
        self._clock_s = clock_s
        self._turn = threading.Lock()
        self._begun = 0
        self._done = 0
        self._asked_at_s = clock_s()
        self._watermark = Watermark(START, now_s=self._asked_at_s)
        self._projects: OrderedDict[str, _Project] = OrderedDict()

    def evidence_of(self, project_id: str) -> SumsEvidence | None:
        """What tells whether sums that are asked for after this call are still right."""
        project = self._projects.get(project_id)
        return None if project is None else SumsEvidence(project_id, project.version)

    def still(self, evidence: SumsEvidence) -> bool:
        """Whether no change since the evidence, committed before this call, bears on the sums."""
        begun = self._begun
        with self._turn:
            if self._done <= begun:
                self._catch_up()
            project = self._projects.get(evidence.project_id)
            if project is None or project.version != evidence.version:
                return False
            self._projects.move_to_end(evidence.project_id)
            return True

    def of(self, project_id: str, *, user_id: str | None) -> Groups:
        """What the consumers of a project, or of one user in it, hold by type of consumer."""
        # Whatever began after this moment sees all that was committed before it.
        begun = self._begun
        with self._turn:
            if self._done <= begun:
                self._catch_up()
            project = self._projects.get(project_id) or self._load(project_id)
            if project_id in self._projects:
                self._projects.move_to_end(project_id)
            return project.shown(user_id)

    def _catch_up(self) -> None:
        """Enter what is new in the journal."""
        now_s = self._clock_s()
        if now_s - self._asked_at_s > SILENCE_S_MAX:
            self._projects.clear()
        self._asked_at_s = now_s
        if not self._projects:
            return  # the first to be loaded says from where on to follow
        self._begun += 1
        since = self._watermark.since
        self._enter(read_usage_changes(self._store, since, most=CHANGES_MAX + 1))
        self._done = self._begun

    def _load(self, project_id: str) -> _Project:
        """Add a project up, as of a moment that all others are brought up to as well."""
        self._begun += 1
        # Where there is nothing to bring up to date, what is new does not matter.
        since = self._watermark.since if self._projects else START
        picture = read_usage_picture(
            self._store,
            since,
            project_id=project_id,
            most=CHANGES_MAX + 1 if self._projects else 0,
        )
        self._enter(picture.changes)
        if not self._projects:
            self._watermark = Watermark(picture.since, now_s=self._clock_s())
        self._done = self._begun
        project = _Project(picture.rows)
        # A database that does not tell case apart may have found a project of another spelling.
        exact = all(row.project_id == project_id for row in picture.rows)
        if exact:
            self._projects[project_id] = project
            self._make_room()
        return project

    def _make_room(self) -> None:
        """Forget projects until the others are not too many, and have not too many users."""
        users = sum(len(project.by_user) for project in self._projects.values())
        while len(self._projects) > PROJECTS_MAX or users > USERS_MAX:
            _, oldest = self._projects.popitem(last=False)
            users -= len(oldest.by_user)

    def _enter(self, found: Found[UsageChange]) -> None:
        """Bring all projects up to date; those that cannot be are forgotten."""
        changes = found.rows
        if len(changes) > CHANGES_MAX or any(change.resets for change in changes):
            self._projects.clear()
            return
        numbers = [change.id for change in changes]
        self._watermark.note(numbers, written=found.written, now_s=self._clock_s())
        for change in changes:
            if change.before is not None:
                self._enter_side(change.before, -1)
            if change.after is not None:
                self._enter_side(change.after, 1)

    def _enter_side(self, holder: Holder, sign: int) -> None:
        project = self._projects.get(holder.project_id)
        if project is not None and not project.enter(holder, sign):
            del self._projects[holder.project_id]
