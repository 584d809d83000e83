"""The arguments of `tunegate prepare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cli.options import AsJson, Flag


@dataclass(frozen=True, kw_only=True)
class PrepareArguments:
    """The options of the command, as the user typed them."""

    out: Path | None = None
    """The folder for the results. Default: the folder of the input."""
    encoding: str | None = None
    """The encoding of the input, such as windows-1250. Default: detected."""
    delimiter: str | None = None
    """The delimiter of a table: a character, tab, or an escape such as \\x1f. Default: detected."""
    header: bool | None = None
    """Whether the first row of a table contains the names of its columns. Default: detected."""
    sheet: str | None = None
    """The sheet of a workbook, or the key of a list of rows in a JSON object. Default: chosen by its content."""
    shape: str | None = None
    """The shape of the rows, such as sharegpt (docs/preparations.md); none reads them as columns. Default: detected."""
    system_prompt: str | None = None
    """The system message for every chat example without one."""
    columns: str | None = None
    """The columns for prompt, answer and system, such as prompt=question,answer=reply. Default: guessed by their
    names."""
    template: str | None = None
    """A template for the question with columns in braces, such as "{title}: {body}"."""
    fix: str = "safe"
    """safe, none, or names of fixes separated by commas (docs/checks.md); a minus sign leaves one out,
    and a plus sign may stand before the others: safe,+mask_secrets,-drop_duplicates."""
    tool_definitions: Literal["keep", "without_descriptions", "without_parameters", "without_definitions"] = "keep"
    """How much of the definitions of functions to keep; shorter ones cost fewer tokens (docs/preparations.md)."""
    validation: str | None = None
    """The share or number of examples to hold back for validation: 10% or 20."""
    seed: int = 0
    """Decides which examples are held back."""
    format: Literal["chat", "completion"] | None = None
    """The format of the results. Default: chat, or the format that the model or the input requires."""
    model: str | None = None
    """The model to prepare for: its token limit and its format. Default: the default model of the catalogue."""
    force: Flag = False
    """Overwrite existing results."""
    as_json: AsJson = False
    """Print nothing but the results as JSON."""
