"""What a training process and the server say to each other, as JSON over the server's internal routes."""

from typing import Literal

from msgspec import Struct

from .engines.port import Adapter, DataFacts, Method

MAX_REPORTS = 500
"""Reports in one request."""
MAX_REQUEST_BYTES = 4 * 1024 * 1024


class Assignment(Struct, kw_only=True):
    """The job of an attempt. None for a hyperparameter is `auto`; `start` and `resume` are prefixes of weights."""

    base: str
    method: Method
    seed: int
    adapter: Adapter | None
    training_file: str
    validation_file: str | None
    start: str | None
    resume: str | None
    resume_step: int
    resume_tokens: int
    n_epochs: int | None
    batch_size: int | None
    rate: float | None
    beta: float | None
    phase_ends_at: float
    """The least time, in seconds since 1970, at which the phase `validating_files` may end."""


class Step(Struct, tag="step", kw_only=True):
    """A step's figures; None is a figure that is not a number. `seconds` is the step's duration."""

    step: int
    total_steps: int
    tokens: int
    seconds: float
    figures: dict[str, float | None]


class Message(Struct, tag="message", kw_only=True):
    """An event of the job, once for each `key`."""

    key: str
    text: str
    level: Literal["info", "warn"]


class Saved(Struct, tag="saved", kw_only=True):
    """Weights that are complete in the store under the prefix `weights`; with `checkpoint`, its metrics, a model."""

    step: int
    tokens: int
    weights: str
    checkpoint: dict[str, float | None] | None


class Validated(Struct, tag="validated", kw_only=True):
    """Both files can be trained on."""

    examples: int
    training: DataFacts
    validation: DataFacts | None


class Failed(Struct, tag="failed", kw_only=True):
    """The job cannot be trained, for a reason that the caller can act on."""

    code: str
    message: str
    param: str | None


class Succeeded(Struct, tag="succeeded"):
    """The last step is recorded and saved as a checkpoint."""


Report = Step | Message | Saved | Validated | Failed | Succeeded
