"""Uuids that are new in a test, and the same in each run of it; elsewhere just new."""

import random
import uuid

# A generator of its own: hypothesis sets the common one back before each example, and the books
# of several examples may be the same.
_source = random.Random()


def begin(test: str) -> None:
    """What comes from now on depends on the name of the test alone."""
    _source.seed(test)


def new_uuid() -> str:
    return str(uuid.UUID(int=_source.getrandbits(128), version=4))
