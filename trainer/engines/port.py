"""The interface of an engine: it validates a job's data, trains, and answers.

An engine owns its training loop. What it reports goes through a `Recorder`, which belongs to one training process and
stops it by raising `Fenced` when the job was cancelled, paused, or taken over by another process.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ..plan import Plan
from ..rows import Conversation, Row

Method = Literal["supervised", "dpo"]


class Refused(Exception):
    """A job that an engine cannot train, in words that say what to do; `param` names the request's field."""

    def __init__(self, param: str | None, message: str, *, code: str = "invalid_request") -> None:
        super().__init__(message)
        self.param, self.code = param, code


class Busy(Exception):
    """Too much is being answered now; the request can be sent again in a while."""


class Fenced(Exception):
    """The job was cancelled, paused, or claimed by another process: stop, and write nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """The caller's settings of the weights to train; None leaves a value to the engine.

    `lora` trains low-rank matrices beside frozen weights, `full` all weights. `targets` are names of linear layers, or
    `all-linear`.
    """

    type: Literal["lora", "full"] = "lora"
    rank: int | None = None
    alpha: float | None = None
    dropout: float | None = None
    targets: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base model that an engine serves, as `GET /v1/models` shows it.

    `context_tokens` is the longest sequence, `learning_rate` what a `learning_rate_multiplier` of 1 means; None where
    the engine has no such figure. `stands_in` says that another model than the one of this name answers.
    """

    name: str
    methods: tuple[Method, ...]
    context_tokens: int | None = None
    learning_rate: float | None = None
    license: str | None = None
    tokenizer_sha256: str | None = None
    stands_in: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """What a job asks for, as far as an engine must know it. `start` says that the job continues a tuned model."""

    base: str
    method: Method
    seed: int
    adapter: Adapter | None
    continues: bool


class Rows(Protocol):
    """The rows of a file by number, read from disk when they are asked for. Raises BadRow, which names the line."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Row: ...

    def line(self, index: int) -> int:
        """The number of a row's line in its file, from 1, to name it in a BadRow."""


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What an engine found in a file: tokens of one epoch, as trained, and the rows that are cut at the context."""

    tokens: int
    truncated_rows: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """A state to continue from: what `Recorder.save` stored, as `model/` and `state/` in `folder`, and when."""

    folder: Path
    step: int
    tokens: int


class Recorder(Protocol):
    """Where a training reports to. Each call raises Fenced when the process no longer owns its job."""

    def step(self, step: int, *, tokens: int, figures: Mapping[str, float]) -> None:
        """Record a step. A step that was recorded before, by a process that died since, changes nothing.

        `tokens` is the number of tokens trained so far; `figures` has `train_loss`, `train_mean_token_accuracy`, and
        where they were measured `valid_loss`, `valid_mean_token_accuracy`, `full_valid_loss` and
        `full_valid_mean_token_accuracy`.
        """

    def save(
        self, step: int, *, tokens: int, model: Path, state: Path | None, checkpoint: Mapping[str, float] | None
    ) -> None:
        """Store weights from which the job can continue, complete or not at all.

        `model` is a folder that `Engine.load` reads; `state` another that only `Engine.train` needs (optimizer, random
        numbers), removed when a later state is stored or the job ends. With `checkpoint`, its metrics, the model can be
        used for inference too; without, it is removed like a state.
        """

    def proceed(self) -> None:
        """Call between steps, and as often as once a second in a long one: raises Fenced as soon as it is known."""

    def message(self, key: str, text: str, *, level: Literal["info", "warn"] = "info") -> None:
        """Add an event to the job, once for each `key`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """All that an engine needs to train a job in a process of its own.

    `start` is the folder of the tuned model that the job continues, `progress` the state of an interrupted process of
    the same job (it wins over `start`). `snapshot_tokens` asks for a `Recorder.save` inside an epoch after this many
    trained tokens. `pace_seconds` is the least duration of a step. `scratch` is an empty folder for the process.
    """

    settings: JobSettings
    plan: Plan
    training: Rows
    validation: Rows | None
    start: Path | None
    progress: Progress | None
    snapshot_tokens: int
    pace_seconds: float
    scratch: Path


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to generate. Temperature 0 takes the likeliest token; `top_logprobs` None asks for no log probabilities."""

    temperature: float
    top_p: float
    seed: int
    max_tokens: int | None
    top_logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token: its bytes, log probability, and the likeliest alternatives with theirs."""

    text: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer: bytes that need not end at a character, and their tokens if `top_logprobs` was given.

    The last piece has `finish`: `stop` at the model's own end, `length` at a limit; its text may be empty. `generated`
    is the number of tokens in it, 0 where the model does not count them.
    """

    text: bytes
    tokens: tuple[TokenLogprob, ...] = ()
    finish: Literal["stop", "length"] | None = None
    generated: int = 0


class Model(Protocol):
    """Weights that answer; safe to share between threads."""

    default_temperature: float

    def generate(self, prompt: Conversation | str, sampling: Sampling) -> Iterator[Piece]:
        """Yield the answer; ends at the model's end of an answer, at `max_tokens` or at the end of its context.

        A string is continued as it is, a conversation is rendered by the model's chat template. Yields empty pieces
        while it waits. An iterator that is closed or dropped ends the generation before its next token. Raises
        Refused for a prompt that cannot be answered, Busy, and FileNotFoundError when the weights are gone.
        """

    def count(self, prompt: Conversation | str) -> int:
        """The number of tokens of a prompt as the model reads it, or of an answer's text."""

    def tool_calls(self, prompt: Conversation, text: str) -> tuple[str | None, list[dict[str, object]]]:
        """Split an answer into content and OpenAI's `tool_calls`, by the form in which the model writes calls."""

    def calls_begin(self, prompt: Conversation, text: str) -> int:
        """Where tool calls may begin in the text so far; the text before is content and can be streamed."""


class Engine(Protocol):
    """Trains weights and generates answers with them. `name` is part of `system_fingerprint`."""

    name: str

    def prepare(self) -> None:
        """Called once in the server's process before anything else: refuse what cannot work (Refused)."""

    def bases(self) -> Sequence[Base]:
        """The base models that can be trained and asked."""

    def check(self, settings: JobSettings) -> None:
        """Refuse a job for what is known before its files are read; returns at once, imports nothing heavy."""

    def validate(self, settings: JobSettings, rows: Rows) -> DataFacts:
        """Read every row of a file. Raises BadRow for the first that cannot be trained on, and Refused."""

    def train(self, work: Work, recorder: Recorder) -> None:
        """Take the remaining steps of a job. Returns after the last one was recorded and saved as a checkpoint.

        The same work and seed give the same figures on the same device, interrupted or not.
        """

    def load(self, base: str, weights: Path | None) -> Model:
        """A model for inference: a folder that `Recorder.save` stored as `model`, or the base itself."""
