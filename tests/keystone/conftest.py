"""A Keystone with a few accounts, and Moorage as a service that it knows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keystone.cloud import KEYSTONE_TOKEN, Cloud
from tests.support.databases import DatabaseKind, Databases
from tests.support.deployments import Deployment, Subject, choose_subject
from tests.support.keystone import DOMAIN, Account, Keystone
from tests.support.servers import Server, serve

TOKEN_CACHE_S = 2
"""How long Moorage believes what Keystone said of a token."""


@pytest.fixture(scope="module")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    keystone = Keystone(tmp_path_factory.mktemp("keystone"))
    yield keystone
    keystone.end()


@pytest.fixture(scope="module")
def cloud(
    keystone: Keystone, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    """Moorage checking tokens, told in the catalog, with one account for each kind of caller."""
    itself = keystone.add_account("placement", project="service", roles=["admin", "service"])
    deployment = deploy_behind(keystone.url, itself, tmp_path_factory.mktemp("served"), databases)
    with serve(choose_subject(), deployment) as server:
        keystone.add_to_catalog("placement", server.url)
        cloud = Cloud(
            keystone=keystone,
            server=server,
            admin=keystone.admin,
            service=keystone.add_account("nova", project="service", roles=["service"]),
            reader=keystone.add_account("rita", project="blue", roles=["reader"]),
            stranger=keystone.add_account("olga", project="red", roles=["reader"]),
        )
        yield cloud
        # Whatever the tests did, tokens that the clients fetched for themselves included.
        told = KEYSTONE_TOKEN.findall(read_log(server))
        assert not told or choose_subject() is Subject.PEER, f"the log tells {len(told)} tokens"


def deploy_behind(
    keystone_url: str, itself: Account, directory: Path, databases: Databases
) -> Deployment:
    """A deployment that checks tokens as the account ``itself``, and logs all it may."""
    return Deployment(
        directory,
        databases.fresh(DatabaseKind.SQLITE),
        options={
            "DEFAULT": {"debug": True},
            "api": {"auth_strategy": "keystone"},
            "oslo_policy": {"enforce_new_defaults": True},
            "keystone_authtoken": {
                "www_authenticate_uri": keystone_url,
                "auth_type": "password",
                "auth_url": keystone_url,
                "username": itself.name,
                "password": itself.password,
                "user_domain_id": DOMAIN,
                "project_name": itself.project,
                "project_domain_id": DOMAIN,
                "token_cache_time": TOKEN_CACHE_S,
                "http_request_max_retries": 0,
            },
        },
    )


def read_log(server: Server) -> str:
    """All that the service has written."""
    return server.running.log_path.read_text(errors="replace")
