"""Identifiers as types, so that a provider is never passed where a consumer is meant."""

from typing import Final, NewType

ProviderId = NewType("ProviderId", int)
"""Row id of a resource provider; never leaves the service."""

ProviderUuid = NewType("ProviderUuid", str)
"""Public identifier of a resource provider, as the client wrote it."""

ConsumerId = NewType("ConsumerId", int)
"""Row id of a consumer; never leaves the service."""

ConsumerUuid = NewType("ConsumerUuid", str)
"""Public identifier of a consumer, 36 characters."""

MoveUuid = NewType("MoveUuid", str)
"""Public identifier of a move, 36 characters."""

ResourceClassId = NewType("ResourceClassId", int)
TraitId = NewType("TraitId", int)
AggregateUuid = NewType("AggregateUuid", str)

Generation = NewType("Generation", int)
"""Counter that grows with every change of a provider or a consumer, at least 0."""

AMOUNT_MAX: Final = 2**31 - 1
"""Largest amount that an inventory field can hold (a signed 32 bit column)."""

CUSTOM_PREFIX: Final = "CUSTOM_"
"""Namespace of the traits and resource classes that operators define."""

SHARING_TRAIT: Final = "MISC_SHARES_VIA_AGGREGATE"
"""A provider with this trait lends its inventory to all trees in its aggregates."""

CUSTOM_CLASS_ID_MIN: Final = 10_000
"""Row ids of custom resource classes start here; lower ids are the standard classes."""
