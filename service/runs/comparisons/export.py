"""All cases of a comparison as one file: JSON Lines as they are shown, or a table with columns for each model."""

import csv
import io
from collections.abc import AsyncIterator, Sequence

import msgspec

from service.database.engine import Database
from service.database.tables import Run
from service.runs.comparisons.case_views import CallShown, CaseAnswer, CaseShown, show_cases
from service.runs.comparisons.options import Options
from service.runs.comparisons.options_schema import ListCases
from service.runs.comparisons.stored import stored_options
from service.storage import Storage

CASES_AT_ONCE = 50
MEDIA = {"csv": "text/csv", "jsonl": "application/jsonl"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def exported(db: Database, storage: Storage, run: Run, query: ListCases) -> AsyncIterator[bytes]:
    """The file in pieces, read a few cases at a time."""
    options = stored_options(run)
    if query.format == "csv":
        yield _written([_header(options)])
    after = query.after
    while True:
        page = msgspec.structs.replace(query, after=after)
        cases = await show_cases(db, storage, run, page, limit=CASES_AT_ONCE)
        if not cases:
            return
        if query.format == "csv":
            yield _written([_row(options, case) for case in cases])
        else:
            yield b"".join(msgspec.json.encode(case) + b"\n" for case in cases)
        after = cases[-1].id


def _header(options: Options) -> list[str]:
    columns = ["line", "turn", "prompt", "reference", "winner"]
    for compared in options.models:
        columns += [f"{compared.asked} {name}" for name in ("answer", "score", *options.by_name, "tokens", "cost")]
    return columns


def _row(options: Options, case: CaseShown) -> list[object]:
    prompt = case.prompt if isinstance(case.prompt, str | None) else msgspec.json.encode(case.prompt).decode()
    reference = None if case.reference is None else _said(case.reference.text, case.reference.calls)
    row: list[object] = [case.line, case.turn, _cell(prompt), _cell(reference), _cell(case.winner)]
    for answer in case.models:
        row += [_cell(_answered(answer)), answer.score]
        row += [answer.graders[name].score if name in answer.graders else None for name in options.by_name]
        row.append(None if answer.tokens is None else answer.tokens.input + answer.tokens.output)
        row.append(None if answer.cost is None else f"{answer.cost.value:.6f}")
    return row


def _answered(answer: CaseAnswer) -> str | None:
    return answer.refusal if answer.text is None else _said(answer.text, answer.calls)


def _said(text: str, calls: Sequence[CallShown]) -> str:
    return "\n".join([text] * bool(text) + [f"{call.name}({call.arguments})" for call in calls])


def _cell(text: str | None) -> str | None:
    """A text that no spreadsheet takes for a formula (OWASP, "CSV Injection"); JSON Lines have it as it is."""
    return f"'{text}" if text is not None and text.startswith(_FORMULA) else text


def _written(rows: Sequence[Sequence[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode("utf-8", "replace")
