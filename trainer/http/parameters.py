"""The bodies of chat and legacy completions. Fields of OpenAI's that change nothing here are accepted."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from .errors import ApiError

MAX_CHOICES = 8
"""The answers that one request may ask for."""
DEFAULT_TEXT_TOKENS = 16
"""OpenAI's limit of a legacy completion without `max_tokens`."""

MAX_STOP_CHARS = 1_000
"""The longest stop sequence: the end of an answer is compared with it after each token."""

Stop = Annotated[str, Meta(max_length=MAX_STOP_CHARS)]
MaxTokens = Annotated[int, Meta(ge=1)] | None


class StreamOptions(Struct):
    """Whether a last chunk carries the usage."""

    include_usage: bool = False


class Parameters(Struct):
    """Parameters of both kinds of completion."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: MaxTokens = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: int | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=4)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None

    def stops(self) -> list[str]:
        """The stop sequences."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [each for each in given if each]

    def with_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage


class RelayedParameters(Struct):
    """What the trainer reads of a body that vLLM answers; vLLM checks the rest."""

    model: str
    stream: bool | None = None


class ResponseFormat(Struct):
    """The form of an answer; only `text` is possible."""

    type: str


class ChatParameters(Parameters, kw_only=True):
    """The body of a chat completion."""

    messages: list[Any]
    max_completion_tokens: MaxTokens = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    function_call: Literal["none", "auto"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    def check(self) -> None:
        """Refuse what could only be promised."""
        if self.response_format is not None and self.response_format.type != "text":
            raise ApiError(
                400,
                f"This trainer cannot guarantee the response format {self.response_format.type!r}: leave it out, ask"
                " for JSON in the messages, or serve with vLLM (TRAINER_SERVE_URL), which can.",
                param="response_format",
            )
        if self.tool_choice == "required" or isinstance(self.tool_choice, dict):
            raise ApiError(
                400,
                "This trainer cannot force a call: tool_choice is auto or none. vLLM (TRAINER_SERVE_URL) can.",
                param="tool_choice",
            )
        if isinstance(self.function_call, dict):
            raise ApiError(
                400, "This trainer cannot force a call: function_call is auto or none.", param="function_call"
            )
        if self.top_logprobs is not None and not self.logprobs:
            raise ApiError(400, "top_logprobs needs logprobs to be true.", param="top_logprobs")

    def calls_allowed(self) -> bool:
        """Whether the model may call tools."""
        return self.tool_choice != "none" and self.function_call != "none"


class TextParameters(Parameters, kw_only=True):
    """The body of a legacy completion."""

    prompt: str | Annotated[list[str], Meta(min_length=1, max_length=1)]
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None

    def text(self) -> str:
        """The prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]
