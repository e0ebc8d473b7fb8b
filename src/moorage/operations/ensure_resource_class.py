"""Create a custom resource class unless it exists."""

from moorage.domain.origin import Origin
from moorage.operations.create_resource_class import add_class
from moorage.operations.services import Services
from moorage.store.names import lock_class
from moorage.store.transaction import Transaction


def ensure_resource_class(services: Services, *, name: str, origin: Origin) -> bool:
    """Whether the class was created now."""
    if name in services.keeper.current().class_ids:
        return False

    def attempt(tx: Transaction) -> bool:
        if lock_class(tx, name) is not None:
            return False
        add_class(tx, name, origin)
        return True

    return services.store.run(attempt)
