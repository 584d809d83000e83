"""The arguments of `tunegate prepare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cli.options import AsJson, Flag


@dataclass(frozen=True, kw_only=True)
class PrepareArguments:
    """The command's options, as they were typed."""

    out: Path | None = None
    """The folder for the results. Default: the input's."""
    system_prompt: str | None = None
    """What every chat example without a system message begins with."""
    columns: str | None = None
    """Which column holds what, such as prompt=question,answer=reply. Default: guessed by their names."""
    template: str | None = None
    """The question with columns in braces, such as "{title}: {body}"."""
    fix: str = "safe"
    """safe, none, or names of fixes separated by commas (docs/checks.md)."""
    tool_definitions: Literal["keep", "without_descriptions", "without_parameters", "without_definitions"] = "keep"
    """How much of the definitions of functions to keep; less of them costs fewer tokens (docs/preparations.md)."""
    validation: str | None = None
    """How much to hold back for validation: 10% or 20."""
    seed: int = 0
    """Decides which examples are held back."""
    format: Literal["chat", "completion"] | None = None
    """What to make. Default: chat, or what the model or the input wants."""
    model: str | None = None
    """The model to prepare for: its limit of tokens and its format. Default: the catalogue's."""
    force: Flag = False
    """Write over results that are there."""
    as_json: AsJson = False
    """Print nothing but the result as JSON."""
