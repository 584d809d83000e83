"""Cases of a comparison as they are shown: the example out of its file, and what each model made of it, side by side.

Nothing of the file is kept beside it: a case says where its example begins there, and shows none once the file is gone.
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
from service.runs.comparisons.cases import LEGACY, Case, cases_of, said_of
from service.runs.comparisons.graders.kinds import Call, Mark
from service.runs.comparisons.grading import TIE
from service.runs.comparisons.options import Options
from service.runs.comparisons.options_schema import ListCases
from service.runs.comparisons.queries import answers_of, case_id, list_cases
from service.runs.comparisons.stored import stored_options
from service.runs.schemas import RunTokens
from service.storage import Storage

MOST_SHOWN_BYTES = 256 * 1024
"""A longer example is not shown, so that a page stays small."""

READ_AT_ONCE = 8


class CallShown(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a function, as it was written."""

    name: str
    arguments: str


class CaseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What one model made of a case. `text` is null for a refused call, and after the answers were pruned."""

    asked: str
    text: str | None
    calls: list[CallShown]
    refusal: str | None
    finish_reason: str | None
    score: float
    graders: dict[str, Mark]
    tokens: RunTokens | None
    cost: Amount | None


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """The example's own answer."""

    text: str
    calls: list[CallShown]


class CaseShown(msgspec.Struct, frozen=True, kw_only=True):
    """One case. `prompt` and `reference` are null when the file is gone, or its example is too long to be shown.

    `turn` is the place of the answer among the example's messages; `winner` a model as it was asked for, or `tie`.
    """

    id: str
    object: Literal["model_comparison.case"] = "model_comparison.case"
    line: int
    turn: int
    prompt: list[dict[str, Any]] | str | None
    reference: Reference | None
    winner: str
    models: list[CaseAnswer]


async def show_cases(db: Database, storage: Storage, run: Run, query: ListCases, *, limit: int) -> list[CaseShown]:
    """Up to `limit` cases behind `after`. Raises `InvalidRequest` as `list_cases`."""
    options = stored_options(run)
    numbers = range(len(options.models))
    async with db.project(run.project_id) as session:
        rows = await list_cases(session, run, query, limit=limit)
        keys = [f"{row.line}.{row.turn}/{number}" for row in rows for number in numbers]
        answers = await answers_of(session, run, keys)
        file = await find_file(session, run.project_id, run.input_file_id) if run.input_file_id else None
    examples = await _examples(storage, file.storage_key if file is not None else None, rows, options)
    return [_shown(run, options, row, example, answers) for row, example in zip(rows, examples, strict=True)]


async def _examples(
    storage: Storage, key: str | None, rows: Sequence[ComparisonCase], options: Options
) -> list[Case | None]:
    slots = asyncio.Semaphore(READ_AT_ONCE)

    async def read(row: ComparisonCase) -> Case | None:
        async with slots:
            return await _example(storage, key, row, options) if key is not None else None

    return await asyncio.gather(*map(read, rows))


async def _example(storage: Storage, key: str, row: ComparisonCase, options: Options) -> Case | None:
    read = b""
    try:
        async for chunk in storage.read_from(key, row.offset_bytes):
            read += chunk
            if b"\n" in chunk or len(read) > MOST_SHOWN_BYTES:
                break
    except FileNotFoundError:
        return None
    data, newline, _ = read.partition(b"\n")
    if not newline and len(read) > MOST_SHOWN_BYTES:
        return None
    line = Line(row.line, row.offset_bytes, data, len(data), False)
    return next(cases_of(line, options.format, turn=options.turn, stop=options.stop), None)


def _shown(
    run: Run, options: Options, row: ComparisonCase, example: Case | None, answers: Mapping[str, RunCall]
) -> CaseShown:
    return CaseShown(
        id=case_id(run, row.place),
        line=row.line,
        turn=row.turn,
        prompt=None if example is None else _prompt(example),
        reference=None if example is None else Reference(text=example.wanted.text, calls=_calls(example.wanted.calls)),
        winner=TIE if row.winner is None else options.models[row.winner].asked,
        models=[
            _answer(compared.asked, row, number, answers.get(f"{row.line}.{row.turn}/{number}"))
            for number, compared in enumerate(options.models)
        ],
    )


def _prompt(example: Case) -> list[dict[str, Any]] | str:
    return str(example.body["prompt"]) if example.path == LEGACY else example.conversation


def _answer(asked: str, row: ComparisonCase, number: int, call: RunCall | None) -> CaseAnswer:
    said = said_of(call.message) if call is not None and call.message is not None else None
    return CaseAnswer(
        asked=asked,
        text=None if said is None else said.text,
        calls=[] if said is None else _calls(said.calls),
        refusal=call.refusal if call is not None else None,
        finish_reason=call.finish_reason if call is not None else None,
        score=row.scores[number],
        graders=msgspec.convert(row.marks[number], dict[str, Mark]),
        tokens=None if call is None else RunTokens(input=call.input_tokens, output=call.output_tokens),
        cost=None if call is None else amount_of(call.cost_micros),
    )


def _calls(calls: Sequence[Call]) -> list[CallShown]:
    return [CallShown(name=call.name, arguments=call.arguments) for call in calls]
