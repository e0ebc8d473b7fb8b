"""The tree shows the architecture: who may import whom, and what may be named where."""

import ast
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "moorage"


def test_every_layer_imports_only_what_lies_below_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "src"))
    monkeypatch.chdir(ROOT)
    with kept_loggers():
        status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == 0, capsys.readouterr().out


@contextmanager
def kept_loggers() -> Iterator[None]:
    """Import-linter silences every other logger of the process when it sets up its own."""
    silent = [logger for logger in loggers() if logger.disabled]
    yield
    for logger in loggers():
        logger.disabled = logger in silent


def loggers() -> list[logging.Logger]:
    known = logging.Logger.manager.loggerDict.values()
    return [logger for logger in known if isinstance(logger, logging.Logger)]


def files(*, outside: tuple[str, ...] = (), within: tuple[str, ...] = ("",)) -> list[Path]:
    """Our modules within these folders, but not in those folders or files."""
    return [
        path
        for path in sorted(SOURCE.rglob("*.py"))
        if str(path.relative_to(SOURCE)).startswith(within)
        and not (outside and str(path.relative_to(SOURCE)).startswith(outside))
    ]


def constants(tree: ast.Module) -> Iterator[ast.Constant]:
    """Every literal except docstrings."""
    texts = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in texts:
            yield node


def named_versions(tree: ast.Module) -> Iterator[ast.AST]:
    """Microversions: the text 1.N, or the pair (1, N)."""
    for node in constants(tree):
        if isinstance(node.value, str) and re.fullmatch(r"1\.[0-9]{1,2}", node.value):
            yield node
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Tuple)
            and len(node.elts) == 2
            and all(isinstance(part, ast.Constant) for part in node.elts)
            and [type(part.value) for part in node.elts] == [int, int]
            and node.elts[0].value == 1
        ):
            yield node


def named_statuses(tree: ast.Module) -> Iterator[ast.AST]:
    """HTTP statuses: a status line, or a number that is given to or compared with a status."""
    for node in constants(tree):
        if isinstance(node.value, str) and re.fullmatch(r"[1-5][0-9]{2} [A-Z].*", node.value):
            yield node
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and "status" in (node.arg or ""):
            yield from filter(is_status, [node.value])
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any("status" in ast.unparse(side).lower() for side in sides):
                yield from filter(is_status, sides)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any("status" in ast.unparse(target).lower() for target in targets):
                yield from filter(is_status, [node.value])
        elif isinstance(node, ast.Attribute) and "HTTPStatus" in ast.unparse(node.value):
            yield node


def is_status(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and 100 <= node.value <= 599


def named_dialects(tree: ast.Module) -> Iterator[ast.AST]:
    """A kind of database, alone or at the beginning of a URL.

    The schema may say of a column that its type varies: that is a declaration, not a decision.
    """
    declared = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".with_variant")
        for argument in node.args
    }
    name = re.compile(r"(sqlite|mysql|mariadb|postgres(ql)?)([+:].*)?", re.IGNORECASE)
    for node in constants(tree):
        if id(node) not in declared and isinstance(node.value, str) and name.fullmatch(node.value):
            yield node


def impure_calls(tree: ast.Module) -> Iterator[ast.AST]:
    """The clock, randomness and new ids, which imports alone do not show."""
    impure = re.compile(
        r"(.*\.)?(now|utcnow|today|uuid1|uuid4|urandom|default_rng|environ|getenv)|"
        r"(np|numpy)\.random\..*|open|print|input"
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and impure.fullmatch(ast.unparse(node.func)):
            yield node


def places(paths: list[Path], find: Callable[[ast.Module], Iterator[ast.AST]]) -> list[str]:
    """Where something stands, as file:line."""
    return [
        f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}"
        for path in paths
        for node in find(ast.parse(path.read_text()))
    ]


def test_microversions_are_named_only_in_their_history() -> None:
    # The demo is a client, and a client states the version that it speaks.
    assert places(files(outside=("api/microversions/", "cli/demo.py")), named_versions) == []


def test_http_statuses_are_named_only_at_the_edge() -> None:
    # So is the client of the demo.
    assert places(files(outside=("api/", "cli/placement_client.py")), named_statuses) == []


def test_dialects_are_named_only_at_home() -> None:
    assert places(files(outside=("store/dialects/",)), named_dialects) == []


def test_the_domain_and_the_search_ask_neither_clock_nor_chance() -> None:
    assert places(files(within=("domain/", "candidates/")), impure_calls) == []


@pytest.mark.parametrize(
    ("find", "wrong", "right"),
    [
        (named_versions, "x = (1, 28)", "x = (2, 28)"),
        (named_versions, "x = '1.28'", "x = 1.28"),
        (named_statuses, "answer(status=404)", "answer(size=404)"),
        (named_statuses, "if answer.status >= 400: pass", "if answer.size >= 400: pass"),
        (named_statuses, "start('404 Not Found')", "start('404')"),
        (named_statuses, "x = HTTPStatus.OK", "x = Status.OK"),
        (named_dialects, "x = 'mysql'", "x = 'mysql_sql_mode'"),
        (named_dialects, "if d == 'mysql': pass", "Text().with_variant(LONGTEXT(), 'mysql')"),
        (named_dialects, "x = 'postgresql+psycopg://h/d'", "x = 'a postgresql database'"),
        (impure_calls, "x = datetime.now()", "x = clock()"),
        (impure_calls, "x = np.random.default_rng()", "x = np.zeros(3)"),
    ],
)
def test_the_search_finds_what_it_is_for(
    find: Callable[[ast.Module], Iterator[ast.AST]], wrong: str, right: str
) -> None:
    assert list(find(ast.parse(wrong)))
    assert not list(find(ast.parse(right)))
