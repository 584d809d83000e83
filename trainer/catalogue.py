"""The base models that requests can name; one engine serves all of them."""

from typing import Any

OWN = "tiny-1"
_CREATED = 1_760_000_000
_NAMES = (
    OWN,
    "gpt-4o",
    "gpt-4o-2024-05-13",
    "gpt-4o-2024-08-06",
    "gpt-4o-2024-11-20",
    "gpt-4o-mini",
    "gpt-4o-mini-2024-07-18",
    "gpt-4.1",
    "gpt-4.1-2025-04-14",
    "gpt-4.1-mini",
    "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano",
    "gpt-4.1-nano-2025-04-14",
    "gpt-3.5-turbo",
    "gpt-3.5-turbo-0125",
    "gpt-3.5-turbo-1106",
    "gpt-3.5-turbo-0613",
    "babbage-002",
    "davinci-002",
)


def is_base(model: str) -> bool:
    """Whether a name is one of the base models."""
    return model in _NAMES


def base_models() -> list[dict[str, Any]]:
    """All base models as OpenAI's model objects."""
    return [base_model(name) for name in _NAMES]


def base_model(name: str) -> dict[str, Any]:
    """One base model as OpenAI's model object."""
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "trainer"}


def fingerprint(engine: str, base: str) -> str:
    """The `system_fingerprint`: the engine that answered, and the model that it stands in for."""
    return engine if base == OWN else f"{engine}:stands-in-for:{base}"
