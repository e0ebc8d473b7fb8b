"""Building a small cloud through the REST API: providers, what they have, and who holds it."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.client import Answer, Client
from tests.support.ids import new_uuid

# The oldest version whose allocations can create a consumer with project, user and a stated
# generation; consumers made here carry no type, as before 1.38.
CLAIM_VERSION = "1.28"
TREE_VERSION = "1.14"
UNGUARDED_AGGREGATES_VERSION = "1.1"
CLASSES_AND_TRAITS_VERSION = "1.7"

Inventory = Mapping[str, Any]


class World:
    """Creates things as an administrator; any refusal is an error of the test."""

    def __init__(self, client: Client) -> None:
        self._client = client.as_user("admin")

    def provider(
        self,
        name: str,
        *,
        uuid: str | None = None,
        parent: str | None = None,
        aggregates: Sequence[str] = (),
    ) -> str:
        """Create a provider and return its uuid."""
        provider = uuid or new_uuid()
        body = {"name": name, "uuid": provider}
        if parent is not None:
            body["parent_provider_uuid"] = parent
        expect(self._client.at(TREE_VERSION).post("/resource_providers", body))
        if aggregates:
            self.aggregates(provider, *aggregates)
        return provider

    def aggregates(self, provider: str, *aggregates: str) -> None:
        """Put the provider into exactly these aggregates; its generation stays as it is."""
        client = self._client.at(UNGUARDED_AGGREGATES_VERSION)
        expect(client.put(f"/resource_providers/{provider}/aggregates", list(aggregates)))

    def inventory(self, provider: str, resource_class: str, total: int, **more: Any) -> None:
        """Add one inventory, given out as a whole unless ``max_unit`` says otherwise."""
        self.resource_class(resource_class)
        body = {"resource_class": resource_class, "total": total, "max_unit": total} | more
        expect(
            self._client.at(CLASSES_AND_TRAITS_VERSION).post(
                f"/resource_providers/{provider}/inventories", body
            )
        )

    def traits(self, provider: str, *traits: str) -> None:
        """Give the provider exactly these traits."""
        client = self._client.at(CLASSES_AND_TRAITS_VERSION)
        for trait in traits:
            if trait.startswith("CUSTOM_"):
                expect(client.put(f"/traits/{trait}"))
        target = f"/resource_providers/{provider}/traits"
        generation = expect(client.get(target)).json["resource_provider_generation"]
        body = {"resource_provider_generation": generation, "traits": list(traits)}
        expect(client.put(target, body))

    def resource_class(self, name: str) -> None:
        """Make sure that the class exists, where it is a custom one."""
        if name.startswith("CUSTOM_"):
            expect(self._client.at(CLASSES_AND_TRAITS_VERSION).put(f"/resource_classes/{name}"))

    def claim(
        self, allocations: Mapping[str, Mapping[str, int]], *, project: str, user: str
    ) -> str:
        """Let a new consumer hold resources (provider -> class -> amount); return its uuid."""
        consumer = new_uuid()
        body = {
            "allocations": {
                provider: {"resources": dict(resources)}
                for provider, resources in allocations.items()
            },
            "project_id": project,
            "user_id": user,
            "consumer_generation": None,
        }
        expect(self._client.at(CLAIM_VERSION).put(f"/allocations/{consumer}", body))
        return consumer


def expect(answer: Answer) -> Answer:
    """The answer itself, where it is a success."""
    if answer.status >= 300:
        raise AssertionError(f"building the world was refused: {answer!r}")
    return answer
