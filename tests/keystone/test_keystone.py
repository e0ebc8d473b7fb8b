"""Who may do what, by the word of a real Keystone and with Placement's defaults."""

import time
from pathlib import Path

import openstack
import pytest

from tests.keystone.cloud import NEWEST, OPERATIONS, RESHAPE, Cloud
from tests.keystone.conftest import TOKEN_CACHE_S, deploy_behind, read_log
from tests.support.client import Client
from tests.support.databases import Databases
from tests.support.deployments import Subject, choose_subject
from tests.support.ids import new_uuid
from tests.support.keystone import DOMAIN
from tests.support.processes import find_free_port
from tests.support.servers import serve
from tests.support.world import World

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PROVIDERS = "/resource_providers"
SLOWNESS_S_MAX = 5.0
"""What a busy machine may add to a time that was promised."""


def test_without_a_token_the_answer_is_401_and_says_where_to_get_one(cloud: Cloud) -> None:
    answer = cloud.server.client(NEWEST, token=None).get(PROVIDERS)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == f'Keystone uri="{cloud.keystone.url}"'


@pytest.mark.parametrize("token", ["admin", "", "gAAAAABno-token-of-this-keystone"])
def test_a_token_that_keystone_does_not_know_is_answered_401(cloud: Cloud, token: str) -> None:
    answer = cloud.server.client(NEWEST, token=token).get(PROVIDERS)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Keystone uri=")


def test_headers_of_a_checked_token_are_not_believed_from_a_client(cloud: Cloud) -> None:
    claimed = {"X-Identity-Status": "Confirmed", "X-User-Id": "eve", "X-Roles": "admin,service"}
    anyone = cloud.server.client(NEWEST, token=None)
    assert anyone.get(PROVIDERS, headers=claimed).status == 401
    assert cloud.client(cloud.reader).get(PROVIDERS, headers=claimed).status == 403


def test_the_version_document_needs_no_token(cloud: Cloud) -> None:
    anyone = cloud.server.client(token=None)
    assert anyone.get("/").json["versions"][0]["max_version"] == NEWEST
    assert anyone.as_user("unknown").get("/").status == 200


def test_an_admin_may_do_all_but_reshape(cloud: Cloud) -> None:
    assert cloud.find_refused(cloud.admin) == {RESHAPE}
    assert cloud.client(cloud.admin).get(f"/usages?project_id={new_uuid()}").status == 200


def test_a_service_may_do_all(cloud: Cloud) -> None:
    assert cloud.find_refused(cloud.service) == set()
    assert cloud.client(cloud.service).get(f"/usages?project_id={new_uuid()}").status == 200


def test_a_reader_sees_the_usages_of_its_own_project_and_nothing_else(cloud: Cloud) -> None:
    world = World(KeptToken(cloud.client(cloud.admin)))
    host = world.provider(f"host-{new_uuid()}")
    world.inventory(host, "VCPU", 8)
    world.claim({host: {"VCPU": 3}}, project=cloud.reader.project_id, user=new_uuid())
    reader = cloud.client(cloud.reader)
    own = reader.get(f"/usages?project_id={cloud.reader.project_id}")
    assert own.json["usages"]["unknown"] == {"VCPU": 3, "consumer_count": 1}
    assert reader.get(f"/usages?project_id={cloud.stranger.project_id}").status == 403
    assert cloud.find_refused(cloud.reader) == set(OPERATIONS)


def test_an_admin_of_the_whole_system_needs_a_token_for_a_project(cloud: Cloud) -> None:
    keystone = cloud.keystone
    client = cloud.server.client(NEWEST, token=keystone.give_system_token(cloud.admin))
    assert client.get(PROVIDERS).status == 403


def test_a_revoked_token_is_refused_once_it_is_no_longer_remembered(cloud: Cloud) -> None:
    client = cloud.client(cloud.admin)
    assert client.get(PROVIDERS).status == 200
    cloud.keystone.revoke(str(client.token))
    revoked_at = time.monotonic()
    while client.get(PROVIDERS).status != 401:
        assert time.monotonic() - revoked_at < TOKEN_CACHE_S + SLOWNESS_S_MAX
        time.sleep(0.1)


def test_the_command_line_works_with_a_password(cloud: Cloud) -> None:
    name = f"host-{new_uuid()}"
    made = cloud.ask(cloud.admin, "resource", "provider", "create", name)
    listed = cloud.ask(cloud.admin, "resource", "provider", "list", "--name", name)
    assert [(row["uuid"], row["name"]) for row in listed] == [(made["uuid"], name)]
    refused = cloud.command(cloud.reader, "resource", "provider", "list")
    assert refused.returncode != 0
    assert "403" in refused.stderr


def test_the_sdk_finds_the_service_in_the_catalog(cloud: Cloud) -> None:
    connection = openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_url=cloud.keystone.url,
        username=cloud.admin.name,
        password=cloud.admin.password,
        user_domain_id=DOMAIN,
        project_name=cloud.admin.project,
        project_domain_id=DOMAIN,
    )
    name = f"host-{new_uuid()}"
    made = connection.placement.create_resource_provider(name=name)
    assert connection.placement.find_resource_provider(name).id == made.id
    assert connection.placement.get_endpoint().rstrip("/") == cloud.server.url


def test_without_keystone_the_answer_is_503(
    cloud: Cloud, databases: Databases, tmp_path: Path
) -> None:
    nowhere = f"http://127.0.0.1:{find_free_port()}/v3"
    deployment = deploy_behind(nowhere, cloud.service, tmp_path / "alone", databases)
    with serve(choose_subject(), deployment) as server:
        assert (
            server.client(NEWEST, token=cloud.keystone.give_token(cloud.admin))
            .get(PROVIDERS)
            .status
            == 503
        )
        assert server.client(NEWEST, token=None).get("/").status == 200


@pytest.mark.skipif(choose_subject() is Subject.PEER, reason="upstream logs what was asked for")
def test_the_log_names_requests_and_tells_no_token_and_no_password(cloud: Cloud) -> None:
    client = cloud.client(cloud.admin)
    bad_token = f"token-that-nobody-gave-{new_uuid()}"
    asked = client.get(PROVIDERS).headers["x-openstack-request-id"]
    cloud.server.client(NEWEST, token=bad_token).get(PROVIDERS)
    client.put(f"/traits/{client.token}")
    client.get(f"{PROVIDERS}?name={client.token}")
    log = read_log(cloud.server)
    assert asked in log
    accounts = (cloud.admin, cloud.service, cloud.reader, cloud.stranger)
    for secret in (client.token, bad_token, *(account.password for account in accounts)):
        assert str(secret) not in log


class KeptToken(Client):
    """A client that keeps its token: the tests' world asks as noauth2's admin otherwise."""

    def __init__(self, client: Client) -> None:
        super().__init__(client.transport, microversion=client.microversion, token=client.token)

    def as_user(self, token: str | None) -> Client:
        return self
