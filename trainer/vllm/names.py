"""A tuned model's name as a folder's name, which is also the name by which vLLM knows the adapter, and back."""

from urllib.parse import quote, unquote

_ESCAPE = "="
"""Stands for the percent sign, which shells and URLs would read as something else. No name of a model has it."""


def adapter_name(model: str) -> str:
    """`ft:base:org::id` becomes `ft=3Abase=3Aorg=3A=3Aid`: letters, digits and `-._~=` only."""
    return quote(model, safe="").replace("%", _ESCAPE)


def model_name(adapter: str) -> str:
    """The tuned model of an adapter's name."""
    return unquote(adapter.replace(_ESCAPE, "%"))
