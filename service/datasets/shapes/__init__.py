"""Known shapes of rows that other tools write, such as ShareGPT's: how to recognise and convert each.

A shape is one module that declares a `Shape`; importing this package registers all. No two recognise the same row.
"""

from service.datasets.shapes import (
    alpaca,
    anthropic,
    argilla,
    bedrock,
    chatgpt_export,
    cohere,
    doccano,
    gemini,
    label_studio,
    langchain,
    logged_calls,
    mistral,
    multiple_choice,
    oasst,
    openai_batch,
    openai_responses,
    palm,
    preference,
    prodigy,
    questions,
    sharegpt,
    texts,
    trl,
)
from service.datasets.shapes.registry import (
    SHAPES,
    CannotConvert,
    Joined,
    LeftOut,
    NoExample,
    NoText,
    Shape,
    file_shape,
    shape_of,
)

MODULES = (
    alpaca,
    anthropic,
    argilla,
    bedrock,
    chatgpt_export,
    cohere,
    doccano,
    gemini,
    label_studio,
    langchain,
    logged_calls,
    mistral,
    multiple_choice,
    oasst,
    openai_batch,
    openai_responses,
    palm,
    preference,
    prodigy,
    questions,
    sharegpt,
    texts,
    trl,
)
"""The modules that register shapes."""

__all__ = ["SHAPES", "CannotConvert", "Joined", "LeftOut", "NoExample", "NoText", "Shape", "file_shape", "shape_of"]
