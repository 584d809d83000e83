"""`tunegate prepare FILE`: training data out of other files."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from cli.options import AsJson, Flag
from service.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Wishes:
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


def prepare(file: Path, /, *, wishes: Annotated[Wishes, Parameter(name="*")] = Wishes()) -> int:
    """Make training data of a CSV, TSV, XLSX, JSON, JSON Lines or text file, without a server.

    Exits with 0 if it is clean, 1 if what it made has errors, 2 if nothing could be made.

    Parameters
    ----------
    file
        The input. It is only read.
    """
    from cli.prepare import prepare_file

    return prepare_file(file, wishes, Settings.from_env(os.environ))
