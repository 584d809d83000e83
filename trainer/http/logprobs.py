"""Log probabilities in OpenAI's two shapes: of chat and of legacy completions."""

from collections.abc import Sequence
from typing import Any

from .answers import Token


def chat_logprobs(tokens: Sequence[Token]) -> dict[str, Any]:
    """`choices[].logprobs` of a chat completion or of one of its chunks."""
    content = [
        _entry(token.logprob.text, token.logprob.logprob)
        | {"top_logprobs": [_entry(text, value) for text, value in token.logprob.top]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def text_logprobs(tokens: Sequence[Token], *, offset: int, top: int) -> dict[str, Any]:
    """`choices[].logprobs` of a legacy completion; `offset` is the number of characters before its text.

    The chosen token is among the top ones in any case, so there may be one more than asked for.
    """
    return {
        "tokens": [_written(token.logprob.text) for token in tokens],
        "token_logprobs": [token.logprob.logprob for token in tokens],
        "top_logprobs": [
            {_written(text): value for text, value in ((token.logprob.text, token.logprob.logprob), *token.logprob.top)}
            for token in tokens
        ]
        if top
        else None,
        "text_offset": [offset + token.start for token in tokens],
    }


def _entry(text: bytes, logprob: float) -> dict[str, Any]:
    return {"token": _written(text), "logprob": logprob, "bytes": list(text)}


def _written(text: bytes) -> str:
    """A token as a string; one that is no whole character as `bytes:\\xe4\\xbd`, OpenAI's form."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in text)
