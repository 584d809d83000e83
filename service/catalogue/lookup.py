"""Finds the base model that a request names, and the error for a model that does not exist."""

from service.catalogue.base_models import BaseModel, Catalogue
from service.errors import InvalidRequest, NotFound


def known_model(catalogue: Catalogue, name: str) -> BaseModel:
    """The base model with a name or alias. Raises InvalidRequest, which lists the known models, if there is none."""
    model = catalogue.find(name)
    if model is None:
        raise InvalidRequest(
            f"The model '{name[:128]}' does not exist. Known models: {', '.join(catalogue.names())}.",
            param="model",
            code="model_not_found",
        )
    return model


def model_not_found(name: str) -> NotFound:
    """The error for a tuned model that does not exist or belongs to another project."""
    return NotFound(
        f"The model '{name[:128]}' does not exist or you do not have access to it.",
        param="model",
        code="model_not_found",
    )
