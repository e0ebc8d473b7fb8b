"""What stands around the application: who may reach it, tokens, CORS, metrics."""

import socket
import sqlite3
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest

from moorage.domain.refusals import StoreUnavailable
from moorage.serve import (
    AddressTaken,
    NoAuthExposed,
    begin_log,
    check_binding,
    check_free,
    find_address,
    is_loopback,
)
from moorage.settings import SettingsInvalid, load_settings
from moorage.telemetry.alerts import Seldom
from tests.frame.conftest import Lines
from tests.support.app import load_moorage, moorage_client
from tests.support.client import Answer, Client, over_wsgi
from tests.support.deployments import Deployment, Subject

PROVIDERS = "/resource_providers"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_this_machine_alone(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "no such host", ""])
def test_everything_else_is_not(host: str) -> None:
    assert not is_loopback(host)


def test_noauth2_is_refused_beyond_loopback() -> None:
    settings = load_settings(
        config_files=(), overrides={("api", "auth_strategy"): "noauth2"}
    ).settings
    check_binding(settings, "127.0.0.1")
    with pytest.raises(NoAuthExposed, match="allow_noauth_beyond_loopback"):
        check_binding(settings, "0.0.0.0")


def test_noauth2_beyond_loopback_can_be_forced() -> None:
    overrides = {
        ("api", "auth_strategy"): "noauth2",
        ("moorage", "allow_noauth_beyond_loopback"): True,
    }
    check_binding(load_settings(config_files=(), overrides=overrides).settings, "0.0.0.0")


def test_keystone_may_be_reached_from_everywhere() -> None:
    check_binding(load_settings(config_files=()).settings, "0.0.0.0")


def test_a_second_service_on_one_port_is_refused() -> None:
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        first.bind(("127.0.0.1", 0))
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(AddressTaken, match=str(port)):
            check_free("127.0.0.1", port)
    check_free("127.0.0.1", port)


def test_a_name_stands_for_its_address() -> None:
    assert is_loopback(find_address("localhost"))
    assert find_address("127.8.8.8") == "127.8.8.8"
    with pytest.raises(AddressTaken, match=r"no\.such\.host\.invalid"):
        find_address("no.such.host.invalid")


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    nowhere = {("DEFAULT", "log_dir"): str(tmp_path / "nowhere")}
    log = load_settings(config_files=(), overrides=nowhere).settings.log
    with pytest.raises(SettingsInvalid, match=r"log_dir: cannot write .*/nowhere/placement\.log"):
        begin_log(log)


def test_a_site_may_let_a_browser_in(tmp_path: Path) -> None:
    options = {"cors": {"allowed_origin": "http://dashboard"}}
    client = moorage_client(tmp_path, options=options)
    answer = client.get(PROVIDERS, headers={"Origin": "http://dashboard"})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "http://dashboard"
    assert "OpenStack-API-Version" in answer.headers["access-control-expose-headers"]
    turned_away = client.as_user(None).get(PROVIDERS, headers={"Origin": "http://dashboard"})
    assert turned_away.status == 401
    assert turned_away.headers["access-control-allow-origin"] == "http://dashboard"


def ask_before_sending(directory: Path) -> Answer:
    """What a browser is answered that asks whether a page of the dashboard may send a GET."""
    options = {"cors": {"allowed_origin": "http://dashboard"}}
    return (
        moorage_client(directory, options=options)
        .as_user(None)
        .send(
            "OPTIONS",
            PROVIDERS,
            headers={
                "Origin": "http://dashboard",
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "X-Auth-Token",
            },
        )
    )


def test_a_preflight_needs_no_token(tmp_path: Path) -> None:
    answer = ask_before_sending(tmp_path)
    assert answer.status == 200
    assert answer.headers["access-control-allow-methods"] == "GET"


def test_a_preflight_is_one_line_in_the_log_under_the_id_that_the_browser_got(
    tmp_path: Path, lines: Lines
) -> None:
    answer = ask_before_sending(tmp_path)
    (line,) = [line for line in lines() if line["event"] == "request"]
    assert line["request_id"] == answer.headers["x-openstack-request-id"]
    assert (line["status"], line["method"]) == (200, "OPTIONS")


def test_without_the_option_browsers_are_told_nothing(tmp_path: Path) -> None:
    answer = moorage_client(tmp_path).get(PROVIDERS, headers={"Origin": "http://dashboard"})
    assert "access-control-allow-origin" not in answer.headers


def test_metrics_are_told_only_where_the_site_says_so(tmp_path: Path) -> None:
    hidden = moorage_client(tmp_path / "hidden").as_user(None).get("/metrics")
    assert hidden.status == 401
    client = moorage_client(tmp_path / "shown", options={"moorage": {"metrics": True}})
    client.get(PROVIDERS)
    shown = client.as_user(None).get("/metrics")
    assert shown.status == 200
    assert 'moorage_requests_total{method="GET",route="/resource_providers"' in shown.text


def test_a_denial_by_policy_is_answered(tmp_path: Path) -> None:
    answer = moorage_client(tmp_path).as_user("sam:blue").get(PROVIDERS)
    assert answer.status == 403
    told = "Policy does not allow placement:resource_providers:list to be performed."
    assert told in answer.detail


def test_a_database_that_cannot_be_used_is_an_alert_but_not_for_each_request(
    tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = moorage_client(tmp_path)

    def fail(*_: Any) -> None:
        try:
            raise sqlite3.OperationalError("s3cr3t")
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(retry_after_s=1) from error

    monkeypatch.setattr("moorage.api.pipeline.show_provider", fail)
    unknown = f"{PROVIDERS}/5e08ea53-c4c6-448e-9334-ac4953de3cfa"
    assert [client.put(unknown, {"name": 5}).status for _ in range(3)] == [503] * 3
    (told,) = [line for line in lines() if line["event"] == "alert"]
    assert told["alert"] == "the database cannot be used"
    assert told["causes"][0] == "sqlite3.OperationalError"
    assert "s3cr3t" not in str(lines())


def test_an_alert_is_given_again_after_a_while(lines: Lines) -> None:
    clock_s = [0.0]
    seldom = Seldom("the database cannot be used", silent_s=60, clock_s=lambda: clock_s[0])
    for at_s in (0.0, 59.0, 60.0, 61.0, 120.0):
        clock_s[0] = at_s
        seldom.tell(ValueError())
    assert len(lines()) == 3


@pytest.fixture
def keystone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Keystone that knows one token, in place of the middleware's way to ask the real one."""
    from keystonemiddleware import auth_token

    domain = {"id": "default", "name": "Default"}
    token = {
        "token": {
            "methods": ["password"],
            "user": {"id": "root", "name": "Root", "domain": domain},
            "project": {"id": "red", "name": "Red", "domain": domain},
            "roles": [{"id": "1", "name": "admin"}],
            "issued_at": "2020-01-01T00:00:00.000000Z",
            "expires_at": "2999-01-01T00:00:00.000000Z",
        }
    }

    def fetch(_self: Any, text: str, **_more: Any) -> Any:
        if text != "good":
            raise auth_token._exceptions.InvalidToken
        return token

    monkeypatch.setattr(auth_token.AuthProtocol, "fetch_token", fetch)


KEYSTONE = {
    "api": {"auth_strategy": "keystone"},
    "keystone_authtoken": {"www_authenticate_uri": "http://keystone", "memcached_servers": ""},
}


@pytest.mark.usefixtures("keystone")
def test_keystone_lets_a_good_token_in(tmp_path: Path) -> None:
    client = moorage_client(tmp_path, options=KEYSTONE)
    assert client.as_user("good").get(PROVIDERS).status == 200


@pytest.mark.usefixtures("keystone")
@pytest.mark.parametrize("token", ["bad", "admin", None])
def test_keystone_turns_others_away(tmp_path: Path, token: str | None, lines: Lines) -> None:
    forged = {"X-User-Id": "root", "X-Roles": "admin", "X-Project-Id": "red"}
    client = moorage_client(tmp_path, options=KEYSTONE).as_user(token)
    answer = client.get(PROVIDERS, headers=forged)
    assert answer.status == 401
    assert "http://keystone" in answer.headers["www-authenticate"]
    request_id = answer.headers["x-openstack-request-id"]
    (line,) = [line for line in lines() if line["event"] == "request"]
    assert (line["request_id"], line["status"], line["method"]) == (request_id, 401, "GET")


@pytest.mark.usefixtures("keystone")
def test_the_version_document_needs_no_keystone(tmp_path: Path) -> None:
    answer = moorage_client(tmp_path, options=KEYSTONE).as_user(None).get("/")
    assert answer.status == 200
    assert answer.json["versions"][0]["id"] == "v1.0"


def test_the_application_keeps_the_rules_of_wsgi(tmp_path: Path) -> None:
    # Reads and refusals only: the validator wants a content type where a 201 has no content.
    deployment = Deployment(tmp_path, f"sqlite:///{tmp_path / 'books.db'}")
    client = Client(over_wsgi(validator(load_moorage(deployment.write(Subject.MOORAGE)))))
    assert client.get("/").status == 200
    assert client.get(PROVIDERS).status == 200
    assert client.get("/nowhere").status == 404
    assert client.as_user(None).get(PROVIDERS).status == 401
