"""The log tells allow-listed facts, and no secret ever."""

import logging
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.telemetry.log import (
    LogFormat,
    RequestLog,
    configure_log,
    write_error,
    write_fault,
    write_pending,
    write_request,
)
from moorage.telemetry.redact import error_told, place_told
from tests.frame.conftest import Lines
from tests.support.app import moorage_client

REQUEST_ID = "req-01234567-89ab-cdef-0123-456789abcdef"
FIELDS = {
    "duration_ms",
    "event",
    "global_request_id",
    "level",
    "method",
    "microversion",
    "project_id",
    "request_id",
    "route",
    "status",
    "timestamp",
}

# Long, and unlike anything that the log says by itself.
SECRETS = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=30
).map(lambda text: f"s3cr3t-{text}")

shared_log = settings(
    deadline=None,
    # Other work may slow the machine; each example reads its own end of the shared log.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=50,
)


def request_line(**given_fields: Any) -> RequestLog:
    return RequestLog(
        **{
            "method": "PUT",
            "route": "/allocations/{consumer_uuid}",
            "status": 204,
            "duration_s": 0.0123456,
            "microversion": "1.39",
            "request_id": REQUEST_ID,
            "global_request_id": REQUEST_ID,
            "project_id": "0123456789abcdef0123456789abcdef",
        }
        | given_fields
    )


def test_a_request_is_one_line(lines: Lines) -> None:
    write_request(request_line())
    (line,) = lines()
    assert set(line) == FIELDS
    assert line["method"] == "PUT"
    assert line["route"] == "/allocations/{consumer_uuid}"
    assert line["status"] == 204
    assert line["duration_ms"] == 12.346
    assert line["microversion"] == "1.39"
    assert line["request_id"] == line["global_request_id"] == REQUEST_ID


@shared_log
@given(secret=SECRETS, field=st.sampled_from(("method", "microversion", "global_request_id")))
def test_a_field_tells_only_what_has_its_shape(lines: Lines, secret: str, field: str) -> None:
    write_request(request_line(**{field: secret}))
    line = lines()[-1]
    assert "s3cr3t" not in str(line)
    assert set(line) <= FIELDS


@pytest.mark.parametrize("token", ["gAAAAAB" + "x" * 180, "a b", "pass/word", "", None])
def test_what_is_no_project_id_is_not_told_as_one(lines: Lines, token: str | None) -> None:
    write_request(request_line(project_id=token))
    assert "project_id" not in lines()[-1]


def fail_with(secret: str) -> Exception:
    """An exception that holds a secret everywhere it can, and comes from another one."""
    password = secret
    try:
        try:
            raise ValueError(password)
        except ValueError as cause:
            raise KeyError(password, {"token": password}) from cause
    except KeyError as error:
        error.add_note(password)
        return error


def speak_formatted(logger: logging.Logger, secret: str) -> None:
    logger.error("a token %s was refused", secret)


def speak_put_together(logger: logging.Logger, secret: str) -> None:
    logger.error(f"a token {secret} was refused")  # noqa: G004


def speak_both(logger: logging.Logger, secret: str) -> None:
    logger.error(f"a token {secret} was %s", "refused")  # noqa: G004


def speak_of_exception(logger: logging.Logger, secret: str) -> None:
    try:
        raise fail_with(secret)
    except KeyError:
        logger.exception("it failed", extra={"password": secret})


def speak_object(logger: logging.Logger, secret: str) -> None:
    logger.error({"password": secret})


def speak_stack(logger: logging.Logger, secret: str) -> None:
    logger.error("here", stack_info=True, extra={"password": secret})


def speak_warning(logger: logging.Logger, secret: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # else one that was heard before is not heard again
        warnings.warn(secret, stacklevel=1)


def speak_fault(logger: logging.Logger, secret: str) -> None:
    write_fault(request_id=secret, route="/traits", error=fail_with(secret))


def speak_error(logger: logging.Logger, secret: str) -> None:
    write_error("it failed", fail_with(secret))


@shared_log
@given(
    secret=SECRETS,
    speak=st.sampled_from(
        (
            speak_formatted,
            speak_put_together,
            speak_both,
            speak_of_exception,
            speak_object,
            speak_stack,
            speak_warning,
            speak_fault,
            speak_error,
        )
    ),
    name=st.sampled_from(
        ("sqlalchemy.engine", "keystonemiddleware.auth_token", "oslo_policy.policy", "any", "root")
    ),
)
def test_no_secret_comes_through_a_library(
    log_file: Path, secret: str, speak: Any, name: str
) -> None:
    before = log_file.stat().st_size
    speak(logging.getLogger(name), secret)
    told = log_file.read_text()[before:]
    assert told.count("\n") == 1
    assert "s3cr3t" not in told


def test_a_librarys_own_words_are_told(lines: Lines) -> None:
    speak_formatted(logging.getLogger("any"), "x")
    assert lines()[-1]["template"] == "a token %s was refused"


def test_a_library_made_to_talk_stays_quiet_about_details(log_file: Path) -> None:
    logging.getLogger("keystonemiddleware.auth_token").debug("Received request with token")
    logging.getLogger("sqlalchemy.engine.Engine").info("SELECT 1")
    assert log_file.read_text() == ""


def test_an_error_is_told_by_type_cause_and_place() -> None:
    told = error_told(fail_with("s3cr3t"))
    assert told["error"] == "builtins.KeyError"
    assert told["causes"] == ["builtins.ValueError"]
    assert told["places"][-1].endswith("fail_with")


def test_of_a_database_error_its_number_is_told() -> None:
    with pytest.raises(sqlite3.Error) as failed:
        sqlite3.connect(":memory:").execute("SELECT 's3cr3t' FROM nowhere")
    told = error_told(failed.value)
    assert told["database_code"] == "SQLITE_ERROR"
    assert "s3cr3t" not in str(told)
    assert "database_code" not in error_told(ValueError(1045, "s3cr3t"))


def test_a_place_begins_with_its_package() -> None:
    file = "/opt/x/lib/python3.11/site-packages/sqlalchemy/pool/base.py"
    assert place_told(file, 12, "connect") == "sqlalchemy/pool/base.py:12 connect"
    assert place_told("/home/me/src/moorage/serve.py", 3, "f") == "moorage/serve.py:3 f"


def test_a_console_gets_the_same_facts(log_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "console.log"
    configure_log(log_format=LogFormat.CONSOLE, log_file=file)
    write_request(request_line())
    text = file.read_text()
    assert "status=204" in text
    assert "\x1b" not in text


@shared_log
@given(
    secret=st.text(alphabet="abcdefXYZ0123456789-_.~", min_size=1, max_size=30).map(
        lambda text: f"s3cr3t{text}"
    ),
    method=st.sampled_from(("GET", "PUT", "POST", "DELETE", "BREW")),
    route=st.sampled_from(
        ("/allocations/{}", "/resource_providers/{}/inventories", "/traits?name=in:{}", "/{}/x")
    ),
    fails=st.booleans(),
)
def test_no_part_of_a_request_reaches_the_log(
    log_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
    secret: str,
    method: str,
    route: str,
    *,
    fails: bool,
) -> None:
    client = _client(tmp_path_factory)
    before = log_file.stat().st_size
    with pytest.MonkeyPatch.context() as patch:
        if fails:
            patch.setattr("moorage.api.pipeline.find_place", lambda *_: _raise(secret))
        client.send(
            method,
            route.format(secret),
            headers={
                "X-Auth-Token": f"{secret}:0123456789abcdef",
                "X-Roles": f"admin,{secret}",
                "Accept": secret,
                "Content-Type": "application/json",
                "User-Agent": secret,
                "Cookie": secret,
                "X-Openstack-Request-Id": f"req-{secret}",
            },
            raw=f'{{"password": "{secret}"}}'.encode(),
        )
    write_pending()
    told = log_file.read_text()[before:]
    assert '"event":"request"' in told
    assert "s3cr3t" not in told
    assert "password" not in told


_CLIENTS: list[Any] = []


def _client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if not _CLIENTS:
        _CLIENTS.append(moorage_client(tmp_path_factory.mktemp("app")))
    return _CLIENTS[0]


def _raise(secret: str) -> None:
    raise fail_with(secret)
