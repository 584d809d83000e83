"""The choices of chat and of legacy completions, whole and as chunks."""

from collections.abc import Iterator, Sequence
from typing import Any

from .answers import Answer, Token
from .logprobs import chat_logprobs, text_logprobs

Choice = dict[str, Any]


class ChatShape:
    """Chat completions. `older_calls` is for requests with `functions`: their answer has one `function_call`."""

    prefix, whole, chunk = "chatcmpl-", "chat.completion", "chat.completion.chunk"

    def __init__(self, *, logprobs: bool, older_calls: bool, one_call: bool) -> None:
        self._logprobs, self._older_calls, self._one_call = logprobs, older_calls, one_call

    def choice(self, answer: Answer) -> Choice:
        """The whole answer, once it is complete."""
        content, calls = self._calls(answer)
        message = {"role": "assistant", "content": content, "refusal": None, **calls}
        return {"message": message, "logprobs": self._of(answer.tokens), "finish_reason": _reason(calls, answer)}

    def chunks(self, answer: Answer) -> Iterator[Choice]:
        """The answer as it is made; calls follow as one chunk when they are complete."""
        yield self._delta({"role": "assistant", "content": "", "refusal": None}, ())
        given = tokens = 0
        for piece in answer.pieces():
            given += len(piece)
            yield self._delta({"content": piece}, answer.tokens[tokens:])
            tokens = len(answer.tokens)
        _, calls = self._calls(answer)
        for place, call in enumerate(calls.get("tool_calls", ())):
            call["index"] = place
        if calls:
            yield self._delta(calls, answer.tokens[tokens:])
        elif len(answer.text) > given:
            yield self._delta({"content": answer.text[given:]}, answer.tokens[tokens:])
        yield self._delta({}, ()) | {"finish_reason": _reason(calls, answer)}

    def _calls(self, answer: Answer) -> tuple[str | None, dict[str, Any]]:
        content, calls = answer.calls()
        if not calls:
            return content, {}
        if self._older_calls:
            return content, {"function_call": calls[0]["function"]}
        return content, {"tool_calls": calls[:1] if self._one_call else calls}

    def _delta(self, delta: dict[str, Any], tokens: Sequence[Token]) -> Choice:
        return {"delta": delta, "logprobs": self._of(tokens) if tokens else None, "finish_reason": None}

    def _of(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
        return chat_logprobs(tokens) if self._logprobs and tokens else None


class TextShape:
    """Legacy completions. `top` is the number of likeliest tokens to show, None for no log probabilities."""

    prefix, whole, chunk = "cmpl-", "text_completion", "text_completion"

    def __init__(self, *, echoed: str, top: int | None) -> None:
        self._echoed, self._top = echoed, top

    def choice(self, answer: Answer) -> Choice:
        """The whole answer, once it is complete."""
        return self._part(self._echoed + answer.text, answer.tokens) | {"finish_reason": answer.finish_reason}

    def chunks(self, answer: Answer) -> Iterator[Choice]:
        """The answer as it is made."""
        if self._echoed:
            yield self._part(self._echoed, ())
        tokens = 0
        for piece in answer.pieces():
            yield self._part(piece, answer.tokens[tokens:])
            tokens = len(answer.tokens)
        yield self._part("", ()) | {"finish_reason": answer.finish_reason}

    def _part(self, text: str, tokens: Sequence[Token]) -> Choice:
        logprobs = None
        if self._top is not None and tokens:
            logprobs = text_logprobs(tokens, offset=len(self._echoed), top=self._top)
        return {"text": text, "logprobs": logprobs, "finish_reason": None}


Shape = ChatShape | TextShape


def _reason(calls: dict[str, Any], answer: Answer) -> str:
    """Why an answer ended, as OpenAI names it."""
    if answer.finish_reason != "stop":
        return answer.finish_reason
    return next(iter(calls), "stop")
