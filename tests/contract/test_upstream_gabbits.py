"""Every gabbi file of upstream, as the installed package has it, on every database.

MOORAGE_TEST_PEER=1 sends the same tests to upstream's own service, which proves our fixtures.
Under pytest-xdist use --dist loadgroup: then a file's tests stay together and run once.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.stage import STAGE, Case, find_gabbits, load_file
from tests.support.databases import DatabaseKind, Databases
from tests.support.deployments import Subject

# All of them apply. So many there are in openstack-placement 16.0.0, which is the version tested.
TESTS_MIN = 1_316

# What upstream's own service gets wrong on PostgreSQL: GET /usages at 1.38 is a 500 there (its
# GROUP BY leaves out a column that it selects), and one file reads the first of several candidates,
# whose order upstream leaves to the database. (file, numbers of the tests)
PEER_WRONG_ON_POSTGRESQL = {
    "allocation-candidates-root-required": {12},
    "consumer-types-1.38": {8, 9, 10, 12, 14},
    "usage-legacy-rbac": {4},
    "usage-policy": {2},
    "usage-secure-rbac": {8, 9, 10, 13, 16, 17},
}

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
                marks = [*MARKS[database], together]
                if _is_wrong_on_peer(case):
                    marks.append(pytest.mark.xfail(reason="upstream's own defect", strict=False))
                yield pytest.param(case, id=case.id, marks=marks)


def _is_wrong_on_peer(case: Case) -> bool:
    return (
        STAGE.subject is Subject.PEER
        and case.database is DatabaseKind.POSTGRESQL
        and case.number in PEER_WRONG_ON_POSTGRESQL.get(case.file, ())
    )


@pytest.fixture(scope="module", autouse=True)
def _stage(databases: Databases) -> Iterator[None]:
    STAGE.databases = databases
    yield
    STAGE.leave()


@pytest.mark.parametrize("case", list(list_cases()))
def test_upstream_gabbits(case: Case) -> None:
    result = STAGE.play(case)
    if result.why_failed():
        pytest.fail(f"{case.file}: {case.name}\n{result.why_failed()}", pytrace=False)
    # A skipped test proves nothing.
    assert result.why_skipped() is None
    assert result.testsRun == 1


def test_nothing_of_the_contract_is_left_out() -> None:
    assert len(list(list_cases())) >= len(DatabaseKind) * TESTS_MIN
