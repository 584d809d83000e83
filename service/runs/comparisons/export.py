"""The export of all cases of a comparison: JSON Lines with the case objects, or CSV with columns for each model."""

import csv
import io
from collections.abc import AsyncIterator, Sequence

import msgspec

from service.database.engine import Database
from service.database.tables import Run
from service.runs.comparisons.case_listing import CaseAnswer, CaseObject, FunctionCallObject, show_cases
from service.runs.comparisons.options import ComparisonPlanOptions
from service.runs.comparisons.request_schemas import ListCases
from service.runs.comparisons.stored import stored_options
from service.storage import Storage

PAGE_SIZE = 50
MEDIA_TYPES = {"csv": "text/csv", "jsonl": "application/jsonl"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a text begins that a spreadsheet may evaluate: the last four are the full-width signs, which some read alike."""


async def export_cases(db: Database, storage: Storage, run: Run, query: ListCases) -> AsyncIterator[bytes]:
    """Stream the file, one page of cases at a time."""
    options = stored_options(run)
    if query.format == "csv":
        yield _csv([_header(options)])
    after = query.after
    while True:
        page = msgspec.structs.replace(query, after=after)
        cases = await show_cases(db, storage, run, page, limit=PAGE_SIZE)
        if not cases:
            return
        if query.format == "csv":
            yield _csv([_row(options, case) for case in cases])
        else:
            yield b"".join(msgspec.json.encode(case) + b"\n" for case in cases)
        after = cases[-1].id


def _header(options: ComparisonPlanOptions) -> list[str]:
    columns = ["line", "turn", "prompt", "reference", "winner"]
    for compared in options.models:
        columns += [f"{compared.requested} {name}" for name in ("answer", "score", *options.by_name, "tokens", "cost")]
    return [f"{_cell(column)}" for column in columns]


def _row(options: ComparisonPlanOptions, case: CaseObject) -> list[object]:
    prompt = case.prompt if isinstance(case.prompt, str | None) else msgspec.json.encode(case.prompt).decode()
    reference = None if case.reference is None else _text_with_calls(case.reference.text, case.reference.calls)
    row: list[object] = [case.line, case.turn, _cell(prompt), _cell(reference), _cell(case.winner)]
    for answer in case.models:
        row += [_cell(_answer_text(answer)), answer.score]
        row += [answer.graders[name].score if name in answer.graders else None for name in options.by_name]
        row.append(None if answer.tokens is None else answer.tokens.input + answer.tokens.output)
        row.append(None if answer.cost is None else f"{answer.cost.value:.6f}")
    return row


def _answer_text(answer: CaseAnswer) -> str | None:
    return answer.refusal if answer.text is None else _text_with_calls(answer.text, answer.calls)


def _text_with_calls(text: str, calls: Sequence[FunctionCallObject]) -> str:
    return "\n".join([text] * bool(text) + [f"{call.name}({call.arguments})" for call in calls])


def _cell(text: str | None) -> str | None:
    """The text, quoted so that no spreadsheet evaluates it as a formula (OWASP, "CSV Injection")."""
    return f"'{text}" if text is not None and text.startswith(_FORMULA) else text


def _csv(rows: Sequence[Sequence[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode("utf-8", "replace")
