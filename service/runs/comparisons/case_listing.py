"""The cases of a comparison, for the API: the example from its file, and every model's answer to it, side by side.

The example is read from the file and stored nowhere else; once the file is deleted, a case is shown without it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from service.billing.prices import Amount, amount_of
from service.database.engine import Database
from service.database.tables import ComparisonCase, Run, RunCall
from service.datasets.files.queries import find_file
from service.datasets.parsing.lines import Line
from service.runs.comparisons.cases import LEGACY, Case, answer_content, cases_of
from service.runs.comparisons.graders.base import AnswerContent, FunctionCall, Score
from service.runs.comparisons.grading import TIE
from service.runs.comparisons.options import ComparisonPlanOptions
from service.runs.comparisons.queries import answers_of, case_id, list_cases
from service.runs.comparisons.request_schemas import ListCases
from service.runs.comparisons.stored import stored_options, stored_scores
from service.runs.schemas import RunTokens
from service.storage import Storage

MAX_SHOWN_BYTES = 256 * 1024
"""Longer examples are left out, so that a page stays small."""

CONCURRENT_READS = 8


class FunctionCallObject(msgspec.Struct, frozen=True, kw_only=True):
    """A function call, with its arguments as the model wrote them."""

    name: str
    arguments: str


class CaseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one model to a case. `text` is null for a refused call, and after the answers were pruned."""

    requested: str = msgspec.field(name="asked")
    text: str | None
    calls: list[FunctionCallObject]
    refusal: str | None
    finish_reason: str | None
    score: float
    graders: dict[str, Score]
    tokens: RunTokens | None
    cost: Amount | None


class ReferenceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer that the example holds."""

    text: str
    calls: list[FunctionCallObject]


class CaseObject(msgspec.Struct, frozen=True, kw_only=True):
    """One case. `prompt` and `reference` are null when the file is deleted, or its example is too long to be shown.

    `turn` is the index of the answer among the example's messages; `winner` is the name of a model as it was requested,
    or `tie`.
    """

    id: str
    object: Literal["model_comparison.case"] = "model_comparison.case"
    line: int
    turn: int
    prompt: list[dict[str, Any]] | str | None
    reference: ReferenceAnswer | None
    winner: str
    models: list[CaseAnswer]


async def show_cases(db: Database, storage: Storage, run: Run, query: ListCases, *, limit: int) -> list[CaseObject]:
    """Up to `limit` cases after the cursor. Raises `InvalidRequest` as `list_cases`."""
    options = stored_options(run)
    numbers = range(len(options.models))
    async with db.project(run.project_id) as session:
        rows = await list_cases(session, run, query, limit=limit)
        keys = [f"{row.line}.{row.turn}/{number}" for row in rows for number in numbers]
        answers = await answers_of(session, run, keys)
        file = await find_file(session, run.project_id, run.input_file_id) if run.input_file_id else None
    examples = await _examples(storage, file.storage_key if file is not None else None, rows, options)
    return [_case_object(run, options, row, example, answers) for row, example in zip(rows, examples, strict=True)]


async def _examples(
    storage: Storage, key: str | None, rows: Sequence[ComparisonCase], options: ComparisonPlanOptions
) -> list[Case | None]:
    semaphore = asyncio.Semaphore(CONCURRENT_READS)

    async def read(row: ComparisonCase) -> Case | None:
        async with semaphore:
            return await _example(storage, key, row, options) if key is not None else None

    return await asyncio.gather(*map(read, rows))


async def _example(storage: Storage, key: str, row: ComparisonCase, options: ComparisonPlanOptions) -> Case | None:
    read = b""
    try:
        async for chunk in storage.read_from(key, row.offset_bytes):
            read += chunk
            if b"\n" in chunk or len(read) > MAX_SHOWN_BYTES:
                break
    except FileNotFoundError:
        return None
    data, newline, _ = read.partition(b"\n")
    if not newline and len(read) > MAX_SHOWN_BYTES:
        return None
    line = Line(row.line, row.offset_bytes, data, len(data), False)
    return next(cases_of(line, options.format, turn=options.turn, stop=options.stop), None)


def _case_object(
    run: Run, options: ComparisonPlanOptions, row: ComparisonCase, example: Case | None, answers: Mapping[str, RunCall]
) -> CaseObject:
    return CaseObject(
        id=case_id(run, row.place),
        line=row.line,
        turn=row.turn,
        prompt=None if example is None else _prompt(example),
        reference=None
        if example is None
        else ReferenceAnswer(text=example.reference.text, calls=_calls(example.reference.calls)),
        winner=TIE if row.winner is None else options.models[row.winner].requested,
        models=[
            _answer(compared.requested, row, number, answers.get(f"{row.line}.{row.turn}/{number}"))
            for number, compared in enumerate(options.models)
        ],
    )


def _reference(content: AnswerContent) -> ReferenceAnswer:
    return ReferenceAnswer(text=content.text, calls=_calls(content.calls))


def _prompt(example: Case) -> list[dict[str, Any]] | str:
    return str(example.body["prompt"]) if example.path == LEGACY else example.conversation


def _answer(requested: str, row: ComparisonCase, number: int, call: RunCall | None) -> CaseAnswer:
    content = answer_content(call.message) if call is not None and call.message is not None else None
    return CaseAnswer(
        requested=requested,
        text=None if content is None else content.text,
        calls=[] if content is None else _calls(content.calls),
        refusal=call.refusal if call is not None else None,
        finish_reason=call.finish_reason if call is not None else None,
        score=row.scores[number],
        graders=stored_scores(row)[number],
        tokens=None if call is None else RunTokens(input=call.input_tokens, output=call.output_tokens),
        cost=None if call is None else amount_of(call.cost_micros),
    )


def _calls(calls: Sequence[FunctionCall]) -> list[FunctionCallObject]:
    return [FunctionCallObject(name=call.name, arguments=call.arguments) for call in calls]
