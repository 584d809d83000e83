"""Chooses what counts a model's tokens: tiktoken for OpenAI's encodings, an open model's own tokenizer for its own."""

from pathlib import Path

from service.catalogue.base_models import BaseModel
from service.catalogue.tokens import ENCODINGS, ModelFacts, TokenCounter, reference_counter


def facts(model: BaseModel) -> ModelFacts:
    """The facts of a model that counting needs."""
    return ModelFacts(name=model.name, encoding=model.encoding, max_tokens=model.max_tokens, tokenizer=model.tokenizer)


def counter_of(name: str) -> TokenCounter:
    """The reference counter of a shipped encoding, or of the open model whose tokenizer is at a path.

    Raises EncodingDamaged, `ModelFilesError`, and KeyError for an encoding that is not shipped.
    """
    if not Path(name).is_absolute():
        return reference_counter(name)
    from service.catalogue.open_models.tokenizer import open_tokenizer  # needs the extra `open-models`

    return open_tokenizer(name)


def counting_of(base: BaseModel | None) -> str:
    """What counts the texts of calls to a model, for `counter_of`; OpenAI's newest encoding for an unknown model."""
    return (base.tokenizer or base.encoding) if base is not None else ENCODINGS[0]
