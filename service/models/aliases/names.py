"""The rules for names of aliases. Pure."""

from typing import Annotated

import msgspec

from service.catalogue.base_models import Catalogue
from service.errors import InvalidRequest

AliasName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?\Z",
        extra={"in_words": "1 to 64 lower-case letters, digits, dots and hyphens, with a letter or digit at each end"},
    ),
]
"""Lower case, digits, dots and hyphens, up to 64 characters: never the id of an alias, which has an underscore."""


def check_not_a_base_model(catalogue: Catalogue, name: str, *, param: str) -> None:
    """Raises `InvalidRequest` for the name of a base model, which requests by that name would get instead."""
    if catalogue.find(name) is not None:
        raise InvalidRequest(
            f"'{name}' is a base model's name. Give the alias another.", param=param, code="model_alias_name_taken"
        )
