"""Who is calling."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.api.identity import ANYONE, Caller, KeystoneIdentity, NoAuthIdentity

NOAUTH = NoAuthIdentity()
KEYSTONE = KeystoneIdentity(options=None)


def environ(path: str = "/traits", **headers: str) -> dict[str, Any]:
    return {"PATH_INFO": path, "REQUEST_METHOD": "GET", "SERVER_NAME": "h", "SERVER_PORT": "80"} | {
        f"HTTP_{name}": value for name, value in headers.items()
    }


def test_the_token_admin_is_admin() -> None:
    caller = NOAUTH.identify(environ(X_AUTH_TOKEN="admin"))
    assert caller == Caller(user_id="admin", project_id="admin", roles=("admin",))


def test_another_token_is_a_user_and_a_project_without_roles() -> None:
    caller = NOAUTH.identify(environ(X_AUTH_TOKEN="sam:blue"))
    assert caller == Caller(user_id="sam", project_id="blue")


def test_roles_may_be_given() -> None:
    caller = NOAUTH.identify(environ(X_AUTH_TOKEN="sam:blue", X_ROLES="reader, member"))
    assert caller == Caller(user_id="sam", project_id="blue", roles=("reader", "member"))


def test_a_system_scoped_caller_has_no_project() -> None:
    caller = NOAUTH.identify(environ(X_AUTH_TOKEN="admin", OPENSTACK_SYSTEM_SCOPE="all"))
    assert caller == Caller(user_id="admin", roles=("admin",), system_scope="all")


@pytest.mark.parametrize("identity", [NOAUTH, KEYSTONE])
def test_without_a_token_nobody_calls(identity: Any) -> None:
    assert identity.identify(environ()) is None


@pytest.mark.parametrize("path", ["", "/"])
@pytest.mark.parametrize("identity", [NOAUTH, KEYSTONE])
def test_the_version_document_is_for_everyone(identity: Any, path: str) -> None:
    assert identity.identify(environ(path)) is ANYONE


def test_headers_alone_do_not_make_a_keystone_caller() -> None:
    assert KEYSTONE.identify(environ(X_USER_ID="sam", X_ROLES="admin")) is None


def test_keystone_tells_who_calls() -> None:
    told = environ(
        X_USER_ID="sam",
        X_PROJECT_ID="blue",
        X_ROLES="admin,member",
        X_IS_ADMIN_PROJECT="False",
        X_SERVICE_ROLES="service",
        X_USER_DOMAIN_ID="default",
    )
    assert KEYSTONE.identify(told | {"keystone.token_auth": object()}) == Caller(
        user_id="sam",
        project_id="blue",
        roles=("admin", "member"),
        is_admin_project=False,
        service_roles=("service",),
        user_domain_id="default",
    )


def test_a_checked_token_without_a_user_is_nobody() -> None:
    assert KEYSTONE.identify(environ(X_ROLES="admin") | {"keystone.token_auth": object()}) is None


def test_a_noauth_token_is_not_logged_as_a_project() -> None:
    whole = NOAUTH.identify(environ(X_AUTH_TOKEN="7b1c0ffee"))
    named = NOAUTH.identify(environ(X_AUTH_TOKEN="sam:blue"))
    assert whole is not None
    assert named is not None
    assert whole.project_id_logged is None
    assert named.project_id_logged == "blue"


@pytest.mark.parametrize(
    ("token", "user_id", "project_id"),
    [
        ("admin", "admin", "admin"),
        ("sam:blue", "sam", "blue"),
        ("gAAAAAB" + "x" * 180, None, None),
        ("x" * 300 + ":blue", None, "blue"),
        ("sam:" + "x" * 300, "sam", None),
    ],
)
def test_the_journal_keeps_no_token_that_noauth_took_for_a_name(
    token: str, user_id: str | None, project_id: str | None
) -> None:
    caller = NOAUTH.identify(environ(X_AUTH_TOKEN=token))
    assert caller is not None
    assert (caller.user_id_kept, caller.project_id_kept) == (user_id, project_id)


def test_the_journal_keeps_any_id_of_keystones_that_it_has_room_for() -> None:
    told = environ(X_USER_ID="sam@example.org (federated)", X_PROJECT_ID="x" * 256)
    caller = KEYSTONE.identify(told | {"keystone.token_auth": object()})
    assert caller is not None
    assert (caller.user_id_kept, caller.project_id_kept) == ("sam@example.org (federated)", None)


HEADERS = (
    "X_ROLES",
    "X_ROLE",
    "OPENSTACK_SYSTEM_SCOPE",
    "X_PROJECT_ID",
    "X_TENANT_ID",
    "X_TENANT",
    "X_USER_ID",
    "X_USER",
    "X_DOMAIN_ID",
    "X_IS_ADMIN_PROJECT",
    "X_SERVICE_ROLES",
    "X_SERVICE_USER_ID",
)
WORDS = st.text(alphabet="abAdmin:, ", max_size=8)


@settings(deadline=None)  # the first example imports the peer
@given(
    token=st.one_of(st.none(), st.just("admin"), WORDS),
    headers=st.dictionaries(st.sampled_from(HEADERS), WORDS, max_size=5),
)
def test_noauth2_believes_what_upstreams_believes(
    token: str | None, headers: dict[str, str]
) -> None:
    told = environ(**headers) | ({} if token is None else {"HTTP_X_AUTH_TOKEN": token})
    assert NOAUTH.identify(dict(told)) == upstreams_caller(dict(told))


def upstreams_caller(told: dict[str, Any]) -> Caller | None:
    """What the peer's own middleware makes of the same request."""
    from oslo_context.context import RequestContext
    from placement.auth import NoAuthMiddleware

    seen: list[RequestContext] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(RequestContext.from_environ(environ))
        start_response("200 OK", [])
        return []

    list(NoAuthMiddleware(application)(told, lambda *_: None))
    if not seen or seen[0].user_id is None:
        return None
    context = seen[0]
    return Caller(
        user_id=context.user_id,
        project_id=context.project_id,
        roles=tuple(context.roles),
        system_scope=context.system_scope,
        domain_id=context.domain_id,
        is_admin_project=context.is_admin_project,
        service_user_id=context.service_user_id,
        service_roles=tuple(context.service_roles),
    )
