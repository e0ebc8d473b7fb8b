"""The edge alone: the real pipeline over services that do nothing but tell the time."""

from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from moorage.api.app import build_app
from moorage.api.identity import NoAuthIdentity
from moorage.api.limits import Limits
from moorage.api.policy import PolicyDenied
from moorage.telemetry.log import RequestLog
from tests.support.client import Client, WSGIApp, over_wsgi

NOW = datetime(2026, 2, 3, 4, 5, 6, 789)  # noqa: DTZ001 - naive UTC, as services tell it
PROVIDER = "5e08ea53-c4c6-448e-9334-ac4953de3cfa"


class AdminsOnly:
    """A policy that lets admins do everything, and others nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []

    def check(self, caller: Any, rule: str, project_id: str | None = None) -> None:
        self.asked.append((rule, project_id))
        if "admin" not in caller.roles:
            raise PolicyDenied(action=rule)


@dataclass
class Edge:
    """An application, and what it has told its hooks."""

    limits: Limits = field(default_factory=Limits)
    policy: AdminsOnly = field(default_factory=AdminsOnly)
    requests: list[RequestLog] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)

    def app(self) -> WSGIApp:
        services: Any = SimpleNamespace(clock=lambda: NOW)
        return build_app(
            services,
            identity=NoAuthIdentity(),
            policy=self.policy,
            limits=self.limits,
            on_request=self.requests.append,
            on_fault=lambda **facts: self.faults.append(facts),
        )

    def client(self, *, microversion: str | None = "1.39", **more: Any) -> Client:
        return Client(over_wsgi(self.app(), **more), microversion=microversion)
