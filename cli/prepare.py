"""`tunegate prepare FILE`: makes training data of a table, JSON or text, without a server; the input is only read."""

import contextlib
import io
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli.advice import ABOUT_TRAINING, command_with_fixes, in_options, without_findings
from cli.arguments.prepare import PrepareArguments
from cli.check import NO_MEMORY
from cli.findings_left import findings_left, sentences_left
from cli.input_files import why_unreadable
from service.catalogue.lookup import known_model
from service.catalogue.models_file import load
from service.datasets.fixes import FIXES
from service.datasets.preparation.changes import Change
from service.datasets.preparation.options import Columns, Options, Split, check_encoding, check_split, chosen_fixes
from service.datasets.preparation.outcome import Input, Prepared, output_names
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.preparation.run import OPTION_CHANGES, Outputs
from service.datasets.preparation.tool_definitions import DESCRIPTIONS
from service.datasets.processes.preparation import READ_BYTES, prepare_to
from service.datasets.processes.report import report_for_path
from service.datasets.report.process_pool import ProcessEnded
from service.datasets.report.terminal import plural
from service.datasets.report_schema import FileReport
from service.errors import ApiError
from service.processes.guard import LimitReached
from service.settings import Settings

EXIT_DONE, EXIT_ERRORS, EXIT_REFUSED = 0, 1, 2
SHOWN_CHANGES = 2
"""Changes that are shown for each fix; the file of changes contains all."""

_DELIMITERS = {"\t": "tab", "\x01": "\\x01", "\x1f": "\\x1f", " ": "space"}
_UNITS = {"json": "item", "jsonl": "line", "txt": "line"}
_STYLES = {"error": "red", "warning": "yellow", "info": "dim"}
_DESCRIPTIONS = {**FIXES, **DESCRIPTIONS, **OPTION_CHANGES}
COLUMN_ROLES = ("prompt", "answer", "system")


@dataclass(frozen=True, kw_only=True)
class Results:
    """The results and their files. `validation` is None without a split."""

    outcome: Prepared
    training: Path
    validation: Path | None
    changes: Path
    reports: dict[Path, FileReport]
    model: str


def prepare_file(file: Path, arguments: PrepareArguments, settings: Settings) -> int:
    """Prepare one file and show the results. Returns the exit status; a refusal is printed to standard error."""
    try:
        results = _prepare(file, arguments, settings)
    except (PreparationRefused, ApiError) as error:
        print(f"tunegate: {in_options(error.message)}", file=sys.stderr)
        if (repeat := command_with_fixes(file, arguments, error.message)) is not None:
            print(f"  fix: {repeat}", file=sys.stderr)
        return EXIT_REFUSED
    except OSError as error:
        print(f"tunegate: {why_unreadable(file, error)}", file=sys.stderr)
        return EXIT_REFUSED
    except (LimitReached, ProcessEnded, MemoryError) as error:
        print(f"tunegate: {file}: {str(error) or NO_MEMORY}", file=sys.stderr)
        return EXIT_REFUSED
    if arguments.as_json:
        print(msgspec.json.encode(_as_json(file, results)).decode())
    else:
        _show(file, results, Console(highlight=False))
    return EXIT_ERRORS if any(report.errors for report in results.reports.values()) else EXIT_DONE


def read_options(arguments: PrepareArguments) -> Options:
    """The options of the preparation. Raises `PreparationRefused` for arguments that cannot be used."""
    split = _split(arguments.validation, arguments.seed)
    check_encoding(arguments.encoding)
    check_split(split)
    return Options(
        encoding=arguments.encoding,
        delimiter=arguments.delimiter,
        header=arguments.header,
        sheet=arguments.sheet,
        shape=arguments.shape,
        target_format=arguments.format,
        columns=_columns(arguments.columns),
        system_prompt=arguments.system_prompt,
        prompt_template=arguments.template,
        fixes=chosen_fixes(arguments.fix),
        tool_definitions=arguments.tool_definitions,
        split=split,
    )


def _prepare(file: Path, arguments: PrepareArguments, settings: Settings) -> Results:
    options = read_options(arguments)
    catalogue = load(settings.models_file)
    model = catalogue.default if arguments.model is None else known_model(catalogue, arguments.model)
    folder = arguments.out or file.parent
    names = output_names(file.name, split=options.split is not None)
    training, validation = (folder / name for name in names)
    changes = folder / names[0].replace("_prepared_train.jsonl", "_prepared.jsonl").replace(".jsonl", "_changes.jsonl")
    paths = [training, *([validation] if options.split else []), changes]
    existing = [path for path in paths if path.exists()]
    if existing and not arguments.force:
        raise PreparationRefused(f"{existing[0]} exists already; --force overwrites it, --out DIR writes elsewhere.")
    with file.open("rb"):  # so that no folder is made for a file that cannot be read
        folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as files:
        training_file, changes_file = (files.enter_context(_write_whole(path)) for path in (training, changes))
        validation_file = files.enter_context(_write_whole(validation)) if options.split else io.BytesIO()
        outcome = prepare_to(
            Outputs(training_file, validation_file, changes_file),
            lambda: _chunks(file),
            filename=file.name,
            options=options,
            model=model,
            scratch=tempfile.TemporaryFile,
            tick=lambda: None,
        )
    reports = {path: report_for_path(path, model.name, settings) for path in paths if path != changes}
    if validation in reports:
        reports[validation] = without_findings(reports[validation], ABOUT_TRAINING)
    return Results(
        outcome=outcome,
        training=training,
        validation=validation if options.split else None,
        changes=changes,
        reports=reports,
        model=model.name,
    )


@contextlib.contextmanager
def _write_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when it is complete, so that a failure leaves an existing file unchanged."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield cast(BinaryIO, file.file)
        except BaseException:
            Path(file.name).unlink()
            raise
    complete = Path(file.name)
    complete.chmod(0o644)
    complete.replace(path)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(READ_BYTES):
            yield chunk


def _columns(text: str | None) -> Columns:
    given: dict[str, str] = {}
    for pair in text.split(",") if text else ():
        role, _, name = pair.partition("=")
        if role.strip() not in COLUMN_ROLES or not name.strip():
            raise PreparationRefused(
                f"--columns takes pairs for {', '.join(COLUMN_ROLES)}, such as answer=reply; not {pair!r}."
            )
        given[role.strip()] = name.strip()
    return Columns(prompt=given.get("prompt"), answer=given.get("answer"), system=given.get("system"))


def _split(text: str | None, seed: int) -> Split | None:
    if text is None:
        return None
    number = text.strip().removesuffix("%")
    try:
        if number != text.strip():
            return Split(validation_share=float(number) / 100, seed=seed)
        return Split(validation_examples=int(number), seed=seed)
    except ValueError:
        raise PreparationRefused(
            f"--validation takes a share such as 10% or a number such as 20; not {text!r}."
        ) from None


def _as_json(file: Path, results: Results) -> dict[str, Any]:
    return {
        "object": "dataset_preparation",
        "input_file": str(file),
        "training_file": str(results.training),
        "validation_file": str(results.validation) if results.validation else None,
        "changes_file": str(results.changes),
        **msgspec.to_builtins(results.outcome),
        "reports": {
            str(path): {
                "examples": report.examples,
                "errors": report.errors,
                "warnings": report.warnings,
                "findings_left": [left._asdict() for left in findings_left(report)],
            }
            for path, report in results.reports.items()
        },
    }


def _show(file: Path, results: Results, console: Console) -> None:
    outcome, options = results.outcome, results.outcome.options
    title = Text(f"{file.name}", style="bold")
    title.append(f"  {options.input_format}, {options.encoding}, {plural(outcome.rows_in, 'row')}", style="dim")
    title.append(f" → {options.target_format or 'unknown format'}, {plural(outcome.rows_out, 'example')}")
    console.print()
    console.print(title)
    if outcome.input is not None and (read_as := _read_as(outcome.input)):
        console.print(Padding(Text(read_as, style="dim"), (0, 0, 0, 2)))
    if options.columns is not None:
        console.print(Padding(_mapping(results), (1, 0, 0, 2)))
    _show_changes(results, console)
    if outcome.definition_tokens is not None:
        tokens = outcome.definition_tokens
        figures = f"{tokens.before:,} → {tokens.after:,} in an epoch, {tokens.saved:,} saved"
        console.print(Padding(Text(f"Tokens of definitions: {figures}"), (1, 0, 0, 2)))
    for note in outcome.notes:
        console.print(Padding(Text(in_options(note), style="yellow"), (1, 0, 0, 2)))
    if outcome.drop_reasons:
        reasons = "; ".join(f"{count:,}x {reason.rstrip('.')}" for reason, count in outcome.drop_reasons.items())
        console.print(Padding(Text(f"Left out: {in_options(reasons)}"), (1, 0, 0, 2)))
    console.print(Padding(_files(results), (1, 0, 0, 2)))
    console.print(Padding(Text(f"All changes: {results.changes}", style="dim"), (0, 0, 1, 2)))
    _show_findings_left(results, console)
    errors = sum(report.errors for report in results.reports.values())
    if not errors and "too_few_examples" not in results.reports[results.training].counts:
        console.print(Text(f"  {_next_command(results)}", style="green"), soft_wrap=True)


def _next_command(results: Results) -> str:
    valid = [] if results.validation is None else ["--valid", str(results.validation)]
    return shlex.join(["tunegate", "train", str(results.training), *valid, "--model", results.model])


def _show_findings_left(results: Results, console: Console) -> None:
    for path, report in results.reports.items():
        sentences = list(sentences_left(path, report))
        if sentences:
            console.print(Padding(Text(f"Findings left in {path.name}", style="underline"), (0, 0, 0, 2)))
        for severity, sentence in sentences:
            console.print(Padding(Text(sentence, style=_STYLES[severity]), (0, 0, 0, 4)))


def _mapping(results: Results) -> Table:
    options = results.outcome.options
    grid = Table.grid(padding=(0, 2))
    for role in COLUMN_ROLES:
        name = getattr(options.columns, role)
        if name is not None:
            guessed = Text("guessed; --columns changes it" if role in options.guessed_columns else "", style="dim")
            grid.add_row(Text(role), Text(f"column `{name}`"), guessed)
    if options.prompt_template is not None:
        guessed = Text("guessed" if "prompt_template" in options.guessed_columns else "", style="dim")
        grid.add_row(Text("prompt"), Text(repr(options.prompt_template)), guessed)
    if options.system_prompt is not None:
        grid.add_row(Text("system"), Text(repr(options.system_prompt[:80])), Text(""))
    return grid


def _read_as(input: Input) -> str:
    """How a table was read, with the certainty of each guess."""
    parts = [f"sheet `{input.sheet}`"] if input.sheet is not None else []
    if input.encoding.certainty != "certain":
        parts.append(f"encoding {input.encoding.value} ({input.encoding.certainty})")
    if input.delimiter is not None:
        parts.append(f"delimiter {_DELIMITERS.get(input.delimiter.value, input.delimiter.value)}")
        parts[-1] += f" ({input.delimiter.certainty})"
    if input.header is not None:
        has = "with" if input.header.value == "true" else "without"
        parts.append(f"{has} a header ({input.header.certainty})")
    return f"read as: {', '.join(parts)}" if parts else ""


def _show_changes(results: Results, console: Console) -> None:
    counts = results.outcome.changes
    heading = "Changes" if counts else "No changes were necessary."
    console.print(Padding(Text(heading, style="underline" if counts else ""), (1, 0, 0, 2)))
    for fix, examples in _examples(results.changes).items():
        title = Text(f"{fix}  ", style="green")
        title.append(f"{counts[fix]:,}x", style="bold")
        title.append(f"  {_DESCRIPTIONS[fix]}", style="dim")
        console.print(Padding(title, (0, 0, 0, 2)))
        for change in examples:
            for line in _change_lines(change, _UNITS.get(results.outcome.options.input_format, "row")):
                console.print(Padding(line, (0, 0, 0, 6)))


def _change_lines(change: Change, unit: str) -> Iterator[Text]:
    where = Text(f"{unit} {change.line} {change.pointer}".rstrip(), style="dim")
    if change.reason is not None:
        where.append(f"  dropped: {change.reason}" if change.action == "dropped" else f"  {change.reason}")
    yield where
    for sign, text, style in (("-", change.before, "red"), ("+", change.after, "green")):
        if text is not None:
            yield Text(f"{sign} {text}", style=style, no_wrap=True, overflow="ellipsis")


def _examples(changes: Path) -> dict[str, list[Change]]:
    """The first changes of each fix, by fix in the order of first appearance."""
    examples: dict[str, list[Change]] = {}
    with changes.open("rb") as lines:
        for line in lines:
            change = msgspec.json.decode(line, type=Change)
            shown = examples.setdefault(change.fix, [])
            if len(shown) < SHOWN_CHANGES:
                shown.append(change)
    return examples


def _files(results: Results) -> Table:
    grid = Table.grid(padding=(0, 2))
    for path, report in results.reports.items():
        symbol = Text("✗", style="bold red") if report.errors else Text("✓", style="bold green")
        tokens = report.tokens.total if report.tokens is not None else 0
        figures = [
            (report.examples, "example"),
            (tokens, "token"),
            (report.errors, "error"),
            (report.warnings, "warning"),
        ]
        shown = ", ".join(plural(count, noun) for count, noun in figures)
        grid.add_row(symbol, Text(str(path), style="bold", overflow="fold"), Text(shown))
    return grid
