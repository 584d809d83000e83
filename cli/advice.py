"""What a user can type: the command for a fix, and the messages of preparations with the command line's options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Set
from dataclasses import fields
from pathlib import Path

from msgspec.structs import replace

from cli.arguments.prepare import PrepareArguments
from service.datasets.fixes import FIXES
from service.datasets.preparation.options import SAFE_FIXES, chosen_fixes
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.report_schema import FileReport

OPTIONS = {
    "model": "--model",
    "encoding": "--encoding",
    "delimiter": "--delimiter",
    "header": "--header",
    "sheet": "--sheet",
    "shape": "--shape",
    "target_format": "--format",
    "columns": "--columns",
    "system_prompt": "--system-prompt",
    "prompt_template": "--template",
    "fixes": "--fix",
    "tool_definitions": "--tool-definitions",
    "split": "--validation",
    "validation_share": "--validation",
    "validation_examples": "--validation",
    "seed": "--seed",
}
"""The options of a preparation by their names in the API."""

ABOUT_TRAINING = frozenset({"too_few_examples", "few_examples"})
"""The codes of warnings that a file deserves only as training data."""

_SET = re.compile(r"\b([Ss]et|[Gg]ive) the option `(\w+)` to ([\w-]+)")
_OPTION = re.compile(r"\b[Tt]he option `(\w+)`( false\b)?")
_COLUMNS = "Name prompt and answer in the option `columns`"
_NAMED_FIX = re.compile(r"\bfix (\w+)")


def in_options(message: str) -> str:
    """A message or a note of a preparation, with the options of the command line for those of the API."""
    message = message.replace(_COLUMNS, "Give `--columns prompt=NAME,answer=NAME`")
    message = _SET.sub(lambda found: f"{found[1]} `{_option(found[2], found[3])}`", message)
    return _OPTION.sub(lambda found: f"`{_option(found[1], (found[2] or '').strip())}`", message)


def with_options(report: FileReport) -> FileReport:
    """A report whose messages have the options of the command line for those of the API."""
    findings = [replace(each, message=in_options(each.message)) for each in report.findings]
    return replace(report, findings=findings)


def without_findings(report: FileReport, codes: Set[str]) -> FileReport:
    """A report without the warnings of some codes."""
    return replace(
        report,
        counts={code: count for code, count in report.counts.items() if code not in codes},
        findings=[each for each in report.findings if each.code not in codes],
        warnings=report.warnings - sum(report.counts.get(code, 0) for code in codes),
    )


def prepare_command(
    file: Path, *, fixes: Iterable[str] | None = None, model: str | None = None, columns: str | None = None
) -> str:
    """The command that prepares a file with these fixes, quoted for a shell. Without fixes it applies the safe ones."""
    words = ["tunegate", "prepare", typed(file)]
    if columns is not None:
        words += ["--columns", columns]
    if fixes is not None:
        words += ["--fix", fix_argument(fixes)]
    if model is not None:
        words += ["--model", model]
    return shlex.join(words)


def command_with_fixes(file: Path, arguments: PrepareArguments, message: str) -> str | None:
    """The user's command with the fixes that a message names and the user has not chosen; None if it names none."""
    try:
        chosen = chosen_fixes(arguments.fix)
    except PreparationRefused:
        return None
    named = [name for name in dict.fromkeys(_NAMED_FIX.findall(message)) if name in FIXES and name not in chosen]
    if not named:
        return None
    fix = ",".join(named) if arguments.fix == "none" else ",".join([arguments.fix, *(f"+{name}" for name in named)])
    words = ["tunegate", "prepare", typed(file)]
    for field in fields(arguments):
        value = fix if field.name == "fix" else getattr(arguments, field.name)
        option = "--json" if field.name == "as_json" else f"--{field.name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is False and field.name == "header":
            words.append("--no-header")
        elif value not in (None, False, field.default) or field.name == "fix":
            words += [option, str(value)]
    return shlex.join(words)


def fix_argument(fixes: Iterable[str]) -> str:
    """The value of `--fix` that adds fixes to the safe ones."""
    return ",".join(["safe", *(f"+{name}" for name in FIXES if name in set(fixes) - SAFE_FIXES)])


def typed(file: Path) -> str:
    """The path so that no command takes it for an option."""
    return f"./{file}" if str(file).startswith("-") else str(file)


def _option(name: str, value: str) -> str:
    option = OPTIONS.get(name, name)
    if name == "header" and value:
        return "--no-header" if value == "false" else option
    return f"{option} {value}" if value else option
