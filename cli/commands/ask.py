"""`tunegate ask MODEL TEXT`: asks a model."""

from typing import Annotated

from cyclopts import Parameter

from cli.connection import Connection
from cli.options import AsJson


def ask(
    model: str,
    text: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> None:
    """Ask a model; the answer is printed as it is generated.

    Parameters
    ----------
    model
        A tuned model, an alias or a base model.
    text
        The question; - reads it from standard input.
    system
        The system message.
    max_tokens
        The most tokens that the answer may have.
    temperature
        0 gives the likeliest answer. Default: the upstream's.
    seed
        The same seed and question give the same answer, as far as the upstream can.
    as_json
        Print nothing but the API's response as JSON, when it is complete.
    """
    from cli.ask import ask

    options = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    with connection.client() as client:
        ask(client, model, text, system=system, options=options, as_json=as_json)
