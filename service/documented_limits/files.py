"""Bounds of files and of the work on them."""

from service.catalogue.open_models.files import MAX_PREFIX_MESSAGES, MAX_RENDERED_CHARS
from service.datasets.encodings.scan import SAMPLES
from service.datasets.parsing.decode import MAX_VALUES as MAX_LINE_VALUES
from service.datasets.preparation.changes import MAX_REASONS
from service.datasets.preparation.inputs import MAX_UNUSED
from service.datasets.preparation.readers.archive import MAX_ENTRIES, MAX_EXPANDED_BYTES
from service.datasets.preparation.readers.expansion import MAX_RATIO
from service.datasets.preparation.readers.header import MAX_COLUMNS
from service.datasets.preparation.readers.json_scan import MAX_ITEM_BYTES, MAX_ITEM_VALUES
from service.datasets.preparation.readers.reading import MAX_MEMBERS, MAX_UNPACKED_BYTES
from service.datasets.preparation.readers.sheet_size import MAX_CELLS
from service.datasets.preparation.readers.table import MAX_RECORD_CHARS, MAX_RECORD_LINES
from service.datasets.preparation.readers.workbook import MAX_SEARCHED_SHEETS, MAX_SHEETS, MAX_WORKBOOK_BYTES
from service.datasets.preparation.readers.workbook_parts import MAX_PART_BYTES as MAX_FORMATS_BYTES
from service.datasets.preparation.split import MAX_SKETCHED
from service.datasets.shapes.json_texts import MAX_PYTHON_CHARS
from service.datasets.shapes.oasst import MAX_MESSAGES
from service.datasets.uploads.actions import MAX_PART_BYTES
from service.datasets.uploads.schemas import MAX_PARTS
from service.documented_limits.limit import FIXED, Limit, by_setting, shown


def _input(name: str, value: int, counted: str, honest_use: str) -> Limit:
    """A fixed bound on the input of a preparation."""
    above = "the preparation fails: `invalid_input_file`"
    return Limit(name=name, value=shown(value), counted=counted, above=above, change=FIXED, honest_use=honest_use)


FILES: tuple[Limit, ...] = (
    by_setting(
        "max_file_bytes",
        name="bytes of a file in one request",
        counted="file; a project can have a lower `max_file_bytes`",
        above="413 `file_too_large`",
        honest_use="OpenAI's own limit is 512 MB",
    ),
    by_setting(
        "max_upload_bytes",
        name="bytes of a file in parts",
        counted="upload; a project can have a lower `max_file_bytes`",
        above="413 `file_too_large`",
        honest_use="OpenAI's own limit is 8 GB",
    ),
    Limit(
        name="bytes of a part",
        value=shown(MAX_PART_BYTES),
        counted="part",
        above="413 `file_too_large`",
        change=FIXED,
        honest_use="OpenAI's own limit, and the SDK's size of a part",
    ),
    Limit(
        name="parts of an upload",
        value=shown(MAX_PARTS),
        counted="upload",
        above="400 `invalid_value`",
        change=FIXED,
        honest_use="8 GB in parts of the SDK's size are 128",
    ),
    by_setting(
        "dataset_memory_bytes",
        name="memory (address space) for one dataset",
        counted="process of a report, preparation or comparison",
        above="report: finding `limit_reached`; preparation: `preparation_limit_exceeded`",
        honest_use="a workbook of nine million cells takes 1.2 GB, 60 MB of JSON as pandas writes it 0.8 GB",
    ),
    by_setting(
        "dataset_cpu_seconds",
        name="processor seconds for one dataset",
        counted="dataset, and as many again for each 100 MB",
        above="as for memory",
        honest_use="512 MB take 10 to 40 seconds, a workbook of nine million cells 35, with formats 90",
    ),
    by_setting(
        "dataset_disk_bytes",
        name="bytes of temporary files and results, besides four times the input",
        counted="preparation",
        above="`preparation_limit_exceeded`",
        honest_use="a million rows with a system prompt of 2 KB take 7 GB",
    ),
    _input("bytes of a workbook", MAX_WORKBOOK_BYTES, "workbook", "Excel's own files seldom exceed 30 MB"),
    _input("bytes of a workbook, unpacked", MAX_EXPANDED_BYTES, "workbook", "XML compresses 5 to 20 times"),
    _input("files in a workbook", MAX_ENTRIES, "workbook", "255 sheets with drawings and comments have about 1,000"),
    _input("sheets of a workbook", MAX_SHEETS, "workbook", "Excel offers 255 at first"),
    Limit(
        name="sheets in which columns of known names are searched",
        value=shown(MAX_SEARCHED_SHEETS),
        counted="workbook",
        above="the first sheet with content is read",
        change=FIXED,
        honest_use="the rows stand in one of the first sheets; `sheet` names any",
    ),
    Limit(
        name="bytes of the formats and of the list of sheets",
        value=shown(MAX_FORMATS_BYTES),
        counted="workbook",
        above="numbers are read without their formats",
        change=FIXED,
        honest_use="Excel writes some hundred kilobytes",
    ),
    _input("cells up to the last filled one", MAX_CELLS, "sheet", "all 1,048,576 rows of Excel with nine columns"),
    _input("bytes of a gzip file, unpacked", MAX_UNPACKED_BYTES, "file", "half of the largest upload"),
    _input("times that a file may expand, from 16 MB", MAX_RATIO, "file", "text: 3 to 20, with long equal prompts 100"),
    _input("members of a gzip file", MAX_MEMBERS, "file", "tools that write blocks of 64 KB need 65,536 for 4 GB"),
    _input("bytes of one JSON item", MAX_ITEM_BYTES, "item", "an array of objects is read item by item"),
    _input(
        "commas and brackets in one JSON item",
        MAX_ITEM_VALUES,
        "item",
        "500,000 rows of ten columns, as pandas writes them",
    ),
    _input("messages of OpenAssistant's trees, a row each", MAX_MESSAGES, "file", "OASST2 has 135,000"),
    Limit(
        name="characters of a list in Python's notation",
        value=shown(MAX_PYTHON_CHARS),
        counted="cell",
        above="the cell is a text; JSON has no such limit",
        change=FIXED,
        honest_use="a conversation has some thousand",
    ),
    _input("columns of a table, keys of the first rows", MAX_COLUMNS, "file", "Excel's own limit"),
    _input("characters of a row of a table", MAX_RECORD_CHARS, "row", "the longest context has about 4 MB"),
    _input("lines of a row of a table", MAX_RECORD_LINES, "row", "cells with pasted documents have some hundred"),
    *(
        Limit(name=name, value=shown(value), counted=counted, above=above, change=FIXED, honest_use=honest_use)
        for name, value, counted, above, honest_use in (
            (
                "examples among which a split finds near duplicates",
                MAX_SKETCHED,
                "preparation",
                "later examples are not compared; a note says so",
                "as in the report",
            ),
            (
                "places of values that are in no example",
                MAX_UNUSED,
                "preparation",
                "counted together",
                "a table has some ten columns",
            ),
            (
                "reasons of dropped rows",
                MAX_REASONS,
                "preparation",
                "counted together; the diff has the reason of every row",
                "numbers in reasons do not distinguish them",
            ),
        )
    ),
    Limit(
        name="places of 4 KB that are sampled for the encoding",
        value=shown(SAMPLES),
        counted="file",
        above="every second place that is not UTF-8 is sampled, then every fourth, to the end of the file",
        change=FIXED,
        honest_use="4 KB of words tell an encoding",
    ),
    Limit(
        name="values of one line",
        value=shown(MAX_LINE_VALUES),
        counted="line",
        above="finding `too_many_values`",
        change=FIXED,
        honest_use="a training row of some megabytes has some thousand",
    ),
    Limit(
        name="characters of a row as an open model's chat template renders it",
        value=shown(MAX_RENDERED_CHARS),
        counted="row",
        above="finding `template_cannot_render`",
        change=FIXED,
        honest_use="a template adds some dozen to each message; a line has 16 MB at most",
    ),
    Limit(
        name="messages before the trained answers of a row for an open model, added up over its answers",
        value=shown(MAX_PREFIX_MESSAGES),
        counted="row",
        above="finding `template_cannot_render`",
        change=FIXED,
        honest_use="a conversation of 100 turns has 10,000, one of 540 turns all",
    ),
)
"""What a file may consist of, and the work on it."""
