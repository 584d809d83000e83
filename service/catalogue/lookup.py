"""Which model names a request may give."""

from service.catalogue.base_models import BaseModel, Catalogue
from service.errors import InvalidRequest, NotFound


def known_model(catalogue: Catalogue, name: str) -> BaseModel:
    """The base model called so, or a refusal that lists what there is."""
    model = catalogue.find(name)
    if model is None:
        raise InvalidRequest(
            f"The model '{name[:128]}' does not exist. Known models: {', '.join(catalogue.names())}.",
            param="model",
            code="model_not_found",
        )
    return model


def model_not_found(name: str) -> NotFound:
    """What is answered for a model of nobody here."""
    return NotFound(
        f"The model '{name[:128]}' does not exist or you do not have access to it.",
        param="model",
        code="model_not_found",
    )
