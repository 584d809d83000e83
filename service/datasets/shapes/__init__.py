"""Known shapes of rows that other tools write, such as ShareGPT's: how to recognise and convert each.

A shape is one module that declares a `Shape`; importing this package registers all.
"""

from service.datasets.shapes import (
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
    openai_batch,
    openai_responses,
    palm,
    prodigy,
    sharegpt,
)
from service.datasets.shapes.registry import (
    SHAPES,
    CannotConvert,
    Joined,
    LeftOut,
    NoExample,
    Shape,
    file_shape,
    shape_of,
)

__all__ = [
    "SHAPES",
    "CannotConvert",
    "Joined",
    "LeftOut",
    "NoExample",
    "Shape",
    "anthropic",
    "argilla",
    "bedrock",
    "chatgpt_export",
    "cohere",
    "doccano",
    "file_shape",
    "gemini",
    "label_studio",
    "langchain",
    "logged_calls",
    "mistral",
    "openai_batch",
    "openai_responses",
    "palm",
    "prodigy",
    "shape_of",
    "sharegpt",
]
