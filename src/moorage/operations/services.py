"""What every operation works with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from moorage.candidates.request import SearchRules
from moorage.coherence.keeper import Keeper
from moorage.coherence.project_sums import ProjectSums
from moorage.domain.claim import Absentee
from moorage.domain.move import DEFAULT_MOVE_RULES, MoveRules
from moorage.operations.claim_queue import ClaimQueue
from moorage.operations.provider_queue import ProviderQueue
from moorage.store.store import Store


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator configured about the books themselves."""

    absentee: Absentee
    search: SearchRules
    moves: MoveRules = DEFAULT_MOVE_RULES


@dataclass(frozen=True, slots=True)
class Services:
    """The store, the current pictures of it, the rules and the clock (naive UTC)."""

    store: Store
    keeper: Keeper
    sums: ProjectSums
    claims: ClaimQueue
    providers: ProviderQueue
    rules: Rules
    clock: Callable[[], datetime]
    new_random: Callable[[], np.random.Generator]
