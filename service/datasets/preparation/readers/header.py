"""Finds the header of a table: below titles and comments, or nowhere, if the first row is an example already.

What people export has a title above the header, a row of types below it, a column of row numbers without a name, and a
footer. None of that is an example, and all of it is named in the notes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from service.datasets.preparation.column_words import are_known, is_known, plain_name
from service.datasets.preparation.mapping import Template
from service.datasets.preparation.options import Options
from service.datasets.preparation.outcome import Certainty, Guess
from service.datasets.preparation.refusals import PreparationRefused

MAX_COLUMNS = 16_384
"""As in Excel."""

HEAD_RECORDS = 100
"""The records of a table in which its header is searched."""

_MAX_ABOVE = 20
_MAX_NAME_CHARS = 80
_SHOWN_CHARS = 60
_CONTENT_NAMES = frozenset({"text", "content", "message", "messages", "texts", "document", "body"})
_TYPE_WORDS = frozenset(
    {"string", "str", "text", "varchar", "char", "int", "integer", "float", "double", "number", "numeric", "bool",
     "boolean", "date", "datetime", "timestamp", "object", "required", "optional", "mandatory", "nvarchar", "clob",
     "zeichenkette", "texto", "texte", "testo", "freitext", "pflichtfeld"}
)  # fmt: skip
_TOTAL = re.compile(
    r"\s*(?:(?:grand |sub)?total|totals|sum|summe|gesamt|gesamtsumme|insgesamt|somme|suma|totale|итого|всего|合計|总计|"
    r"합계)\s*[:.]?\s*",
    re.IGNORECASE,
)
_ROW_COUNT = re.compile(
    r"\s*\(?\d[\d.,]*\s+(?:rows?|records?|zeilen|lignes|filas|righe|linhas)(?: (?:in set|selected).*)?\)?\.?\s*",
    re.IGNORECASE,
)
_RULE = re.compile(r"\s*:?[-+=]{2,}:?\s*")
_RULE_STARTS = ("", "--", ":-", "+-", "-+", "==")
_ROLES = frozenset({"user", "assistant", "system", "human", "bot", "gpt", "agent", "customer"})
_NUMBER = re.compile(r"\s*[-+]?\d[\d.,\s]*%?\s*")
_SENTENCE_END = re.compile(r"(?:\s\S.*[.?!…]|[。?!؟।])[\"')»“”]*\s*$", re.DOTALL)

Record = tuple[int, Sequence[str]]


class Header(NamedTuple):
    """The names of the columns, whether they stood in the table and how sure that is, and the records that follow."""

    names: list[str]
    guess: Guess
    records: Iterator[Record]


def find_header(
    records: Iterator[Record], options: Options, notes: list[str], *, depths: dict[int, int] | None = None
) -> Header | None:
    """The header of a table; None if it has no filled cell. `notes` get sentences about what was passed over.

    `depths` are the rows of headers whose cells are merged, by the number of their first row; 0 for cells that are
    merged over several columns, below which names may follow. Raises `PreparationRefused` for too many columns.
    """
    head = list(islice(records, HEAD_RECORDS))
    filled = [(at, record) for at, record in enumerate(head) if _texts(record[1])]
    if not filled:
        return None
    usual = _usual_width([record for _, record in filled])
    above = _above(filled, usual, options) if options.header is not False else 0
    place, first = filled[above]
    has_header, certainty = _is_header(first[1], [record[1] for _, record in filled[above + 1 :]], options)
    if not has_header:
        if above and options.header is None:
            notes.append(_passed_over(filled[:above], "title or comment"))
        width = max(_width(record[1]) for _, record in filled)
        if width == 2 and all(record[1][0].strip().lower() in _ROLES for _, record in filled):
            raise PreparationRefused(
                "The table has roles in its first column and turns in its second one, and nothing says where a "
                "conversation ends. Give JSON Lines with the `messages` of each conversation."
            )
        guess = Guess(value="false", certainty=certainty)
        notes.append(_no_header_note(first, options))
        names = [f"column_{number}" for number in range(1, width + 1)]
        return Header(_checked(names), guess, _rest(head[place:], records, notes))
    if above:
        notes.append(_passed_over(filled[:above], "title or comment"))
    depth = (depths or {}).get(first[0], 1)
    if depth == 0:
        depth = 2 if _continues(head[place + 1 : place + 2], len(_texts(first[1]))) else 1
    rows = [record[1] for record in head[place : place + depth]]
    names = _joined(rows) if depth > 1 else list(first[1])
    if depth > 1:
        notes.append(f"The names of the columns stand in {depth} rows, which were joined.")
    after = place + len(rows)
    body = [record for record in head[after:] if _texts(record[1])]
    names, more = column_names(names, [record[1] for record in body])
    notes += more
    if body and _are_types(body[0][1]):
        notes.append(_passed_over([(0, body[0])], "row of types or units"))
        after = head.index(body[0]) + 1
    if certainty == "uncertain":
        notes.append(
            f"Row {first[0]} ({_quoted(first[1])}) was taken for the names of the columns, which is uncertain; with "
            "the option `header` false it is an example."
        )
    guess = Guess(value="true", certainty=certainty)
    return Header(names, guess, _rest(head[after:], records, notes, header=_texts(first[1])))


def has_header_of(cells: Sequence[str], options: Options) -> bool:
    """Whether a row names the columns that the options want, or a question and an answer."""
    wanted = _wanted(options)
    names = [_clean(cell) for cell in cells]
    return (bool(wanted) and wanted <= {plain_name(name) for name in names}) or are_known(names)


def column_names(header: Sequence[str], rows: Sequence[Sequence[str]] = ()) -> tuple[list[str], list[str]]:
    """A name for each column, and notes. A column without one is named by its position, a second one of the same name
    by a number.

    Columns without a name at the end of the header are ignored: they are leftovers of formatting. Where all rows have
    one cell more than the header, the first column has row numbers (as R writes them).
    """
    names = [_clean(cell) for cell in header]
    while names and not names[-1]:
        names.pop()
    notes = []
    widths = {_width(row) for row in rows}
    if len(names) > 1 and widths == {len(names) + 1} and all(_NUMBER.fullmatch(row[0]) for row in rows):
        names.insert(0, "")
        notes.append("The first column has no name and contains row numbers; it is called `column_1`.")
    named = [name or f"column_{place}" for place, name in enumerate(names, start=1)]
    seen: Counter[str] = Counter()
    numbered: list[str] = []
    for name in named:
        seen[name] += 1
        unique = name
        while seen[name] > 1 and unique in named + numbered:
            unique = f"{name}_{seen[name]}"
            seen[name] += unique in named + numbered
        numbered.append(unique)
    twice = [name for name, times in Counter(named).items() if times > 1]
    if twice:
        notes.append(
            f"Several columns are called `{twice[0][:64]}`; the second one is called `{twice[0][:64]}_2` here. Check "
            "with the option `columns` that the right one is used."
        )
    return _checked(numbered), notes


def footer_of(record: Record) -> bool:
    """Whether a last record is a total or a count of rows."""
    texts = _texts(record[1])
    if not texts or not (_TOTAL.fullmatch(texts[0]) or _ROW_COUNT.fullmatch(texts[0])):
        return False
    return all(_NUMBER.fullmatch(text) for text in texts[1:])


def _rest(
    head: Sequence[Record], records: Iterator[Record], notes: list[str], *, header: Sequence[str] = ()
) -> Iterator[Record]:
    """The records, without a footer at the end of the table and without the header again, as in joined tables."""
    waiting: list[Record] = []
    repeated: list[int] = []
    rules: list[tuple[int, Record]] = []
    for record in _chained(head, records):
        if len(header) > 1 and header[0] in record[1] and _texts(record[1]) == header:
            repeated.append(record[0])
            continue
        if _is_rule(record[1]):
            rules = [*rules[:3], (0, record)]
            continue
        if waiting and _texts(record[1]):
            yield from waiting
            waiting = []
        if waiting or footer_of(record):
            waiting.append(record)
        else:
            yield record
    if waiting:
        notes.append(_passed_over([(0, waiting[0])], "footer"))
        yield from waiting[1:]
    if rules:
        notes.append(_passed_over(rules[:3], "line that is drawn below a header or a row"))
    if repeated:
        more = f" and {len(repeated) - 3:,} more" if len(repeated) > 3 else ""
        rows = ", ".join(f"{number:,}" for number in repeated[:3])
        notes.append(f"Not examples, but the header again: row{'s' if len(repeated) > 1 else ''} {rows}{more}.")


def _is_rule(cells: Sequence[str]) -> bool:
    """Whether a row is a line such as `---|---` of a table that is drawn with characters."""
    if not cells or cells[-1].lstrip()[:2] not in _RULE_STARTS:
        return False
    texts = _texts(cells)
    return bool(texts) and all(map(_RULE.fullmatch, texts))


def _chained(head: Iterable[Record], records: Iterator[Record]) -> Iterator[Record]:
    yield from head
    yield from records


def _above(filled: Sequence[tuple[int, Record]], usual: int, options: Options) -> int:
    """The number of filled records above the header: titles and comments."""
    for at, (_, (_, cells)) in enumerate(filled[:_MAX_ABOVE]):
        if has_header_of(cells, options):
            return at
    if usual < 2:
        return _comments(filled)
    for at, (_, (_, cells)) in enumerate(filled[:_MAX_ABOVE]):
        if len(_texts(cells)) > 1:
            return at
    return 0


def _continues(below: Sequence[Record], width: int) -> bool:
    """Whether the row below a header with merged cells has names only where those are."""
    return bool(below) and 0 < len(_texts(below[0][1])) < width


def _comments(filled: Sequence[tuple[int, Record]]) -> int:
    texts = (record[1][0] for _, record in filled[:_MAX_ABOVE])
    return next((at for at, text in enumerate(texts) if not text.startswith("# ")), 0)


def _wanted(options: Options) -> set[str]:
    """The plain names of the columns that the request names."""
    columns = options.columns
    names = [columns.prompt, columns.answer, columns.system]
    if options.prompt_template is not None:
        names += Template(options.prompt_template).names
    return {plain_name(name) for name in names if name}


def _is_header(cells: Sequence[str], rows: Sequence[Sequence[str]], options: Options) -> tuple[bool, Certainty]:
    """Whether a record has the names of the columns, and how sure that is."""
    if options.header is not None:
        return options.header, "given"
    names = [_clean(cell) for cell in cells if cell.strip()]
    plain = {plain_name(name) for name in names}
    wanted = _wanted(options)
    if wanted and wanted <= plain:
        return True, "certain"
    if are_known(names):
        return True, "certain"
    recur = _recur(cells, rows)
    if not recur and (any(is_known(name) for name in names) or plain & _CONTENT_NAMES):
        return True, "likely"
    if recur or any(_is_text(name) or _NUMBER.fullmatch(name) for name in names):
        return False, "likely"
    if any(_is_text(cell) for row in rows for cell in row):
        return True, "likely"
    return True, "uncertain"


def _is_text(cell: str) -> bool:
    """Whether a cell has a sentence or is too long for a name."""
    return len(cell) > _MAX_NAME_CHARS or _SENTENCE_END.search(cell) is not None


def _recur(cells: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a cell occurs again below, as labels do and names of columns do not."""
    return any(cell.strip() and sum(row[at : at + 1] == [cell] for row in rows) for at, cell in enumerate(cells))


def _usual_width(records: Sequence[Record]) -> int:
    widths = Counter(_width(cells) for _, cells in records)
    return max(widths, key=lambda width: (widths[width], width))


def _width(cells: Sequence[str]) -> int:
    return max((at for at, cell in enumerate(cells, start=1) if cell.strip()), default=0)


def _texts(cells: Sequence[str]) -> list[str]:
    return [cell for cell in cells if cell.strip()]


def _clean(cell: str) -> str:
    """A name on one line, without the marks that editors and spreadsheets leave."""
    return " ".join(re.sub("[\ufeff\u200b\u2060\u00ad]", "", cell).split())


def _joined(rows: Sequence[Sequence[str]]) -> list[str]:
    width = max(map(len, rows))
    columns = ([_clean(row[at]) for row in rows if at < len(row) and row[at].strip()] for at in range(width))
    return [" ".join(dict.fromkeys(parts)) for parts in columns]


def _are_types(cells: Sequence[str]) -> bool:
    words = [cell.strip().strip("()[]<>").lower() for cell in cells if cell.strip()]
    return len(words) > 1 and all(word in _TYPE_WORDS for word in words)


def _checked(names: list[str]) -> list[str]:
    if len(names) > MAX_COLUMNS:
        raise PreparationRefused(
            f"row 1: the table has {len(names):,} columns; the limit is {MAX_COLUMNS:,}. Leave out those without use."
        )
    return names


def _quoted(cells: Sequence[str]) -> str:
    texts = [f"`{text[:_SHOWN_CHARS]}`" for text in _texts(cells)]
    return ", ".join(texts[:3]) + (", …" if len(texts) > 3 else "")


def _passed_over(records: Sequence[tuple[int, Record]], kind: str) -> str:
    shown = "; ".join(f"row {number} ({_quoted(cells)})" for _, (number, cells) in records[:3])
    more = f" and {len(records) - 3} more" if len(records) > 3 else ""
    return f"Not an example, but a {kind}: {shown}{more}."


def _no_header_note(first: Record, options: Options) -> str:
    columns = "The columns are called `column_1`, `column_2` and so on"
    if options.header is False:
        return f"{columns}."
    return (
        f"Row {first[0]} ({_quoted(first[1])}) is taken for an example, so the table has no header. {columns}; of two, "
        "the first is the question and the second the answer. If the row has the names, set the option `header` to "
        "true."
    )
