"""Every gabbi file of upstream, as the installed package has it, on every database.

MOORAGE_TEST_PEER=1 sends the same tests to upstream's own service, which proves our fixtures.
Under pytest-xdist use --dist loadgroup: then a file's tests stay together and run once.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.stage import STAGE, Case, find_gabbits, load_file
from tests.support.databases import DatabaseKind, Databases

# File, or (file, test name), that cannot apply to Moorage -> why. None, and none is expected.
NOT_APPLICABLE: dict[str | tuple[str, str], str] = {}

MARKS = {
    DatabaseKind.SQLITE: [],
    DatabaseKind.POSTGRESQL: [pytest.mark.postgresql],
    DatabaseKind.MARIADB: [pytest.mark.mariadb],
}


def list_cases() -> Iterator[Any]:
    """All tests of all files on all databases, each file's in its order."""
    files = sorted(path.stem for path in find_gabbits().glob("*.yaml"))
    tests = {file: load_file(file)["tests"] for file in files}
    for database in DatabaseKind:
        for file in files:
            for number, test in enumerate(tests[file]):  # type: ignore[arg-type,var-annotated]
                case = Case(database, file, number, test["name"])
                together = pytest.mark.xdist_group(f"{database.value}-{file}")
                yield pytest.param(case, id=case.id, marks=[*MARKS[database], together])


@pytest.fixture(scope="module", autouse=True)
def _stage(databases: Databases) -> Iterator[None]:
    STAGE.databases = databases
    yield
    STAGE.leave()


@pytest.mark.parametrize("case", list(list_cases()))
def test_upstream_gabbits(case: Case) -> None:
    reason = NOT_APPLICABLE.get(case.file) or NOT_APPLICABLE.get((case.file, case.name))
    if reason:
        pytest.skip(reason)
    result = STAGE.play(case)
    if result.why_failed():
        pytest.fail(f"{case.file}: {case.name}\n{result.why_failed()}", pytrace=False)
    # A skipped test proves nothing, so it needs a reason in the list above.
    assert result.why_skipped() is None
    assert result.testsRun == 1


def test_nothing_of_the_contract_is_left_out() -> None:
    assert not NOT_APPLICABLE
