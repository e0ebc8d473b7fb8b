"""Who is calling: Keystone's word for it, or, for tests and laptops, the caller's own (noauth2).

Source: keystonemiddleware's description of the headers that auth_token adds, oslo.context's of
which of them count, and the noauth2 strategy of openstack-placement 16.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, Protocol
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from moorage.telemetry.redact import project_id_told

CALLERS_MAX: Final = 1_024
"""Callers that are remembered by what their headers say."""

ID_CHARS_MAX: Final = 255
"""Longer than any id that Keystone gives out; the journal keeps no longer ones."""

ROOT_PATHS: Final = frozenset(("", "/"))
"""The version document is for everyone."""


class IdentityInvalid(Exception):
    """Nobody can be identified as configured; the text names options, and no value but a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, as far as policies can tell callers apart. Equal callers get equal decisions."""

    user_id: str | None = None
    project_id: str | None = None
    roles: tuple[str, ...] = ()
    system_scope: str | None = None
    domain_id: str | None = None
    user_domain_id: str | None = None
    project_domain_id: str | None = None
    is_admin_project: bool = True
    service_user_id: str | None = None
    service_project_id: str | None = None
    service_user_domain_id: str | None = None
    service_project_domain_id: str | None = None
    service_roles: tuple[str, ...] = ()
    is_believed: bool = field(default=False, compare=False)
    """Nobody has checked who it is: user and project may be parts of some token."""

    @property
    def user_id_kept(self) -> str | None:
        """The user as the journal keeps it."""
        return self._kept(self.user_id)

    @property
    def project_id_kept(self) -> str | None:
        """The project as the journal keeps it."""
        return self._kept(self.project_id)

    def _kept(self, text: str | None) -> str | None:
        if self.is_believed:
            # Whoever sends a token of Keystone's to noauth2 must not find it in the database.
            return project_id_told(text)
        return text if text is not None and len(text) <= ID_CHARS_MAX else None

    @property
    def project_id_logged(self) -> str | None:
        """The project, unless noauth2 took the whole token for it: tokens are never logged."""
        return self.project_id if self.project_id != self.user_id else None


ANYONE: Final = Caller()
"""Whoever reads the version document."""


class Identity(Protocol):
    """A way to tell who is calling."""

    def identify(self, environ: WSGIEnvironment) -> Caller | None:
        """The caller, ``ANYONE`` on the root paths, None if it must be answered 401."""

    def wrap(self, application: WSGIApplication) -> WSGIApplication:
        """The application behind whatever checks the tokens."""


class NoAuthIdentity:
    """Believe the token: ``admin`` has the role admin, ``user:project`` is just that.

    The headers of Keystone's middleware (``X-Roles``, ``Openstack-System-Scope`` and others) may
    be given by the caller, which is what makes it good for testing policies.
    """

    def identify(self, environ: WSGIEnvironment) -> Caller | None:
        if environ.get("PATH_INFO", "") in ROOT_PATHS:
            return ANYONE
        if "HTTP_X_AUTH_TOKEN" not in environ:
            return None
        return _believed_caller(environ["HTTP_X_AUTH_TOKEN"], _stated(environ))

    def wrap(self, application: WSGIApplication) -> WSGIApplication:
        return application


class KeystoneIdentity:
    """Let Keystone check the token; its middleware tells us the rest in headers."""

    def __init__(self, options: Any) -> None:
        """Args: options: oslo.config's, where [keystone_authtoken] is (or will be) registered."""
        self._options = options

    def identify(self, environ: WSGIEnvironment) -> Caller | None:
        if environ.get("PATH_INFO", "") in ROOT_PATHS:
            return ANYONE
        # A client can send the headers, but not this key: without it no middleware has checked.
        if environ.get("keystone.token_auth") is None:
            return None
        caller = _checked_caller(_stated(environ))
        return None if caller.user_id is None else caller

    def wrap(self, application: WSGIApplication) -> WSGIApplication:
        """Put Keystone's middleware in front of the application.

        Raises:
            IdentityInvalid: it cannot be made from the options. (Keystone is not asked.)
        """
        # Imported here: it takes half a second, which noauth2 need not wait for.
        from keystoneauth1 import exceptions  # noqa: PLC0415
        from keystonemiddleware import auth_token  # noqa: PLC0415

        checked: WSGIApplication
        try:
            checked = auth_token.AuthProtocol(application, {"oslo_config_config": self._options})
        except exceptions.NoMatchingPlugin as error:
            raise IdentityInvalid(
                f"[keystone_authtoken]auth_type: there is no plugin called {error.name}"
            ) from None
        except exceptions.MissingRequiredOptions as error:
            missing = ", ".join(sorted(option.dest for option in error.options))
            raise IdentityInvalid(
                f"[keystone_authtoken] lacks what its auth_type needs: {missing}"
            ) from None

        def check_all_but_root(
            environ: WSGIEnvironment, start_response: StartResponse
        ) -> Iterable[bytes]:
            if environ.get("PATH_INFO", "") in ROOT_PATHS:
                return application(environ, start_response)
            return checked(environ, start_response)

        return check_all_but_root


def identity_for(strategy: str, options: Any) -> Identity:
    """The identity of ``[api]auth_strategy``."""
    strategies: Mapping[str, Callable[[], Identity]] = {
        "noauth2": NoAuthIdentity,
        "keystone": lambda: KeystoneIdentity(options),
    }
    return strategies[strategy]()


_CALLER_HEADERS: Final = (
    *("HTTP_X_USER_ID", "HTTP_X_USER"),
    *("HTTP_X_PROJECT_ID", "HTTP_X_TENANT_ID", "HTTP_X_TENANT"),
    *("HTTP_X_ROLES", "HTTP_X_ROLE"),
    *("HTTP_OPENSTACK_SYSTEM_SCOPE", "HTTP_X_DOMAIN_ID"),
    *("HTTP_X_USER_DOMAIN_ID", "HTTP_X_PROJECT_DOMAIN_ID", "HTTP_X_IS_ADMIN_PROJECT"),
    *("HTTP_X_SERVICE_USER_ID", "HTTP_X_SERVICE_PROJECT_ID"),
    *("HTTP_X_SERVICE_USER_DOMAIN_ID", "HTTP_X_SERVICE_PROJECT_DOMAIN_ID"),
    "HTTP_X_SERVICE_ROLES",
)
"""Every header that a caller is told by."""


def _stated(environ: WSGIEnvironment) -> tuple[str | None, ...]:
    """What the caller's headers say, in the order of ``_CALLER_HEADERS``."""
    return tuple(map(environ.get, _CALLER_HEADERS))


def _named(stated: tuple[str | None, ...]) -> dict[str, str]:
    """The headers that are there, by name."""
    pairs = zip(_CALLER_HEADERS, stated, strict=True)
    return {name: value for name, value in pairs if value is not None}


@lru_cache(maxsize=CALLERS_MAX)
def _checked_caller(stated: tuple[str | None, ...]) -> Caller:
    return caller_from_headers(_named(stated))


@lru_cache(maxsize=CALLERS_MAX)
def _believed_caller(token: str, stated: tuple[str | None, ...]) -> Caller:
    headers = _named(stated)
    user_id, _, project_id = token.partition(":")
    headers["HTTP_X_USER_ID"] = user_id
    headers.setdefault("HTTP_X_ROLES", "admin" if user_id == "admin" else "")
    if not headers.get("HTTP_OPENSTACK_SYSTEM_SCOPE"):
        headers["HTTP_X_TENANT_ID"] = project_id or user_id
    return replace(caller_from_headers(headers), is_believed=True)


def caller_from_headers(headers: Mapping[str, Any]) -> Caller:
    """The caller that the headers of Keystone's middleware describe.

    Where several headers may say one thing, the first that is there counts, even if it is empty.
    """
    return Caller(
        user_id=_first(headers, "HTTP_X_USER_ID", "HTTP_X_USER"),
        project_id=_first(headers, "HTTP_X_PROJECT_ID", "HTTP_X_TENANT_ID", "HTTP_X_TENANT"),
        roles=_names(headers.get("HTTP_X_ROLES", headers.get("HTTP_X_ROLE"))),
        system_scope=headers.get("HTTP_OPENSTACK_SYSTEM_SCOPE"),
        domain_id=headers.get("HTTP_X_DOMAIN_ID"),
        user_domain_id=headers.get("HTTP_X_USER_DOMAIN_ID"),
        project_domain_id=headers.get("HTTP_X_PROJECT_DOMAIN_ID"),
        # Where nothing is said, policies from before the admin project must go on working.
        is_admin_project=headers.get("HTTP_X_IS_ADMIN_PROJECT", "true").lower() == "true",
        service_user_id=headers.get("HTTP_X_SERVICE_USER_ID"),
        service_project_id=headers.get("HTTP_X_SERVICE_PROJECT_ID"),
        service_user_domain_id=headers.get("HTTP_X_SERVICE_USER_DOMAIN_ID"),
        service_project_domain_id=headers.get("HTTP_X_SERVICE_PROJECT_DOMAIN_ID"),
        service_roles=_names(headers.get("HTTP_X_SERVICE_ROLES")),
    )


def _first(headers: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        if name in headers:
            value: str = headers[name]
            return value
    return None


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()
