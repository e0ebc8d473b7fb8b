"""Where one gabbi file plays at a time: its world, its application, its tests in their order."""

import unittest
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from unittest import TestResult

from tests.support.client import WSGIApp
from tests.support.databases import DatabaseKind, Databases
from tests.support.deployments import Subject, choose_subject


def find_gabbits() -> Path:
    """Upstream's gabbi files, where the installed package keeps them."""
    import placement

    return Path(placement.__file__).parent / "tests" / "functional" / "gabbits"


@dataclass(frozen=True)
class Case:
    """One test of one file on one database; ``number`` counts from 0 in the file's order."""

    database: DatabaseKind
    file: str
    number: int
    name: str

    @property
    def id(self) -> str:
        return f"{self.database.value}-{self.file}-{self.number:03d}-{self.name}"


class Recording(TestResult):
    """Keeps how a single test ended, whatever happened to the tests before it."""

    def why_failed(self) -> str | None:
        """The traceback of a failure, or None."""
        for _, text in [*self.errors, *self.failures]:
            return text
        for _ in self.unexpectedSuccesses:
            return "passed, though the file expects it to fail"
        return None

    def why_skipped(self) -> str | None:
        for _, reason in self.skipped:
            return reason
        return None


@dataclass
class Stage:
    """Holds the world of the file that plays now.

    A file's tests depend on one another. They are run in their order in one world; a test that is
    asked for alone has the ones before it run first, by gabbi itself.
    """

    subject: Subject = field(default_factory=choose_subject)
    databases: Databases | None = None
    app: WSGIApp | None = None
    _database: DatabaseKind | None = None
    _file: str | None = None
    _suite: unittest.TestSuite | None = None

    def fresh_database(self) -> str:
        """The URL of a new empty database of the kind that plays now."""
        assert self.databases is not None
        assert self._database is not None
        return self.databases.fresh(self._database)

    def play(self, case: Case) -> Recording:
        """Run one test, changing the world first where another file's stands."""
        if not self._can_play(case):
            self._change(case.database, case.file)
        result = Recording()
        self._tests()[case.number].run(result)
        return result

    def leave(self) -> None:
        """Put the world away."""
        suite, self._suite = self._suite, None
        if suite is not None:
            suite.stop()  # type: ignore[attr-defined]

    def __call__(self, environ, start_response):  # type: ignore[no-untyped-def]
        # gabbi wants its application before the fixtures have made it.
        assert self.app is not None
        # httpx gives the path as text; PEP 3333 wants its bytes as latin-1, as servers give them.
        environ["PATH_INFO"] = environ["PATH_INFO"].encode().decode("latin-1")
        return self.app(environ, start_response)

    def _can_play(self, case: Case) -> bool:
        if self._suite is None or (self._database, self._file) != (case.database, case.file):
            return False
        # A test that ran unseen, as the forerunner of another, has to run again to be judged.
        return not self._tests()[case.number].has_run  # type: ignore[attr-defined]

    def _tests(self) -> list[unittest.TestCase]:
        assert self._suite is not None
        return list(self._suite)  # type: ignore[arg-type]

    def _change(self, database: DatabaseKind, file: str) -> None:
        self.leave()
        self._database, self._file = database, file
        suite = make_suite(file, self)
        suite.start(TestResult(), list(suite))  # type: ignore[attr-defined]
        self._suite = suite


def load_file(file: str) -> dict[str, object]:
    """A gabbi file as it stands in the package."""
    from gabbi import utils

    loaded: dict[str, object] = utils.load_yaml(
        yaml_file=str(find_gabbits() / f"{file}.yaml"), safe=True
    )
    return loaded


def make_suite(file: str, app: WSGIApp) -> unittest.TestSuite:
    """gabbi's suite of one file, sent to ``app``, with our fixtures under upstream's names."""
    from gabbi import handlers, suitemaker

    from tests.contract import fixtures

    suite: unittest.TestSuite = suitemaker.test_suite_from_dict(
        unittest.TestLoader(),
        file,
        load_file(file),
        str(find_gabbits()),
        str(uuid.uuid4()),
        8001,
        fixtures,
        lambda: app,
        handlers=[handler() for handler in handlers.RESPONSE_HANDLERS],
    )
    return suite


STAGE = Stage()
