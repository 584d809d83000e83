"""The table of limits in `docs/limits.md`: every bound on what a caller's bytes decide, with its value from the code.

Each entry takes its value from the constant or the setting that enforces it, so that the page cannot drift from the
code. Add one with every new bound.
"""

from dataclasses import dataclass, fields
from typing import Any

from service.app import MAX_BODY_BYTES
from service.database.batched_lookups import MAX_KEYS, MAX_QUERIES
from service.datasets.checks.tools import SCHEMA_SECONDS
from service.datasets.parsing.decode import MAX_VALUES as MAX_LINE_VALUES
from service.datasets.preparation.readers.archive import MAX_ENTRIES, MAX_EXPANDED_BYTES
from service.datasets.preparation.readers.expansion import MAX_RATIO
from service.datasets.preparation.readers.json_values import MAX_ITEM_BYTES, MAX_ITEM_VALUES
from service.datasets.preparation.readers.reading import MAX_MEMBERS, MAX_UNPACKED_BYTES
from service.datasets.preparation.readers.sheet_size import MAX_CELLS
from service.datasets.preparation.readers.table import MAX_COLUMNS, MAX_RECORD_CHARS, MAX_RECORD_LINES
from service.datasets.preparation.readers.workbook import MAX_SHEETS, MAX_WORKBOOK_BYTES
from service.datasets.uploads.actions import MAX_PART_BYTES
from service.datasets.uploads.schemas import MAX_PARTS
from service.egress.connections import MAX_HEAD_BYTES
from service.egress.resolver import MAX_LOOKUPS
from service.http.bodies import MAX_QUERY_PARAMETERS
from service.http.client_address import MAX_HOPS
from service.http.concurrent_requests import MAX_EXPORTS
from service.http.event_streams import MAX_FETCHES_PER_SECOND
from service.http.keyless_bodies import BODY_SECONDS, MAX_BODIES
from service.http.multipart import MAX_BOUNDARY, MAX_FIELD_BYTES, MAX_FIELDS, MAX_FORM_BYTES
from service.http.protocol import MAX_PIPELINED, MIN_SENT_PER_SECOND, SEND_SECONDS
from service.identity.refused_requests import UNKNOWN_KEY_SUBJECTS
from service.inference.metering import COUNTING_THREADS
from service.inference.relay_pace import MAX_EVENTS_PER_SECOND
from service.inference.routes import MAX_INFERENCE_BYTES
from service.jobs.rules import MAX_GRADER_BYTES
from service.json_limits import MAX_DEPTH, MAX_VALUES, VALUE_BYTES
from service.json_schemas import MAX_DEPTH as MAX_SCHEMA_DEPTH
from service.json_schemas import (
    MAX_EXPANDED,
    MAX_NAME_CHARS,
    MAX_PATTERN_CHARS,
    MAX_PATTERN_STEPS,
    MAX_PATTERNS,
    MAX_SCHEMA_BYTES,
    MAX_SUBSCHEMAS,
)
from service.limits.unfinished_work import MAX_UNFINISHED_REPORTS
from service.monitoring.internal_listener import MAX_CONNECTIONS
from service.runs.comparisons.cases import MAX_CASES_BYTES, MAX_CASES_VALUES
from service.runs.comparisons.cases import MAX_LINE_VALUES as MAX_CASE_VALUES
from service.runs.comparisons.graders.regular_expression import MAX_CHARACTERS as MAX_MATCHED_CHARACTERS
from service.runs.evaluator import CHECK_SECONDS, MAX_WAITING_CHECKS
from service.runs.messages import MAX_MESSAGE_BYTES, MAX_MESSAGE_VALUES
from service.runs.plan import MAX_ANSWERS_BYTES
from service.settings import Settings
from service.upstreams.adapters.answers import MAX_EVENT_VALUES, MAX_LINE_BYTES, MIN_LINE_BYTES
from service.upstreams.adapters.large_answers import MAX_LARGE_VALUES
from service.upstreams.adapters.transport import MAX_CONTROL_BYTES, MIN_PIECE_BYTES
from service.upstreams.inbound_checks import MAX_WAITING, STORING
from service.upstreams.inbound_webhooks import MAX_BODY_BYTES as MAX_INBOUND_BYTES
from service.webhooks.actions import MAX_RECOVERED
from service.webhooks.schedule import SLOW_SECONDS
from service.worker_places import ACCOUNT_POLLS, DELETIONS, DELIVERIES, DEPLOYMENTS, RETRIES, RUNS, SLOW_DELIVERIES

HEADING = "## All limits\n"
FIXED = "fixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One bound.

    `counted` is what it is counted for (a request, a file, a project in a process, …), `above` what happens beyond it,
    `change` the setting or call that changes it, or why none does, and `honest_use` the real use that it was checked
    against.
    """

    name: str
    value: str
    counted: str
    above: str
    change: str
    honest_use: str


def _by_setting(field_name: str, *, name: str, counted: str, above: str, honest_use: str) -> Limit:
    """A bound that is a setting."""
    (spec,) = (each for each in fields(Settings) if each.name == field_name)
    return Limit(
        name=name,
        value=_shown(spec.default),
        counted=counted,
        above=above,
        change=f"`{spec.metadata['env']}`",
        honest_use=honest_use,
    )


def _input(name: str, value: int, counted: str, honest_use: str) -> Limit:
    """A fixed bound on the input of a preparation."""
    above = "the preparation fails: `invalid_input_file`"
    return Limit(name=name, value=_shown(value), counted=counted, above=above, change=FIXED, honest_use=honest_use)


def _shown(value: Any) -> str:
    """A number as a person reads it: whole MiB as such, else with separators."""
    if isinstance(value, int) and value >= 1 << 20 and value % (1 << 20) == 0:
        return f"{value >> 20:,} MiB"
    return f"{value:,}"


EVALUATION: tuple[Limit, ...] = (
    *(
        Limit(
            name=name,
            value=_shown(value),
            counted="schema of a grader or tool",
            above="400 `invalid_grader` or `invalid_tools`; in a file the finding `schema_too_complex`",
            change=FIXED,
            honest_use=honest_use,
        )
        for name, value, honest_use in (
            ("bytes of a JSON Schema", MAX_SCHEMA_BYTES, "all schemas of this API together, 139 KB"),
            ("depth of a JSON Schema", MAX_SCHEMA_DEPTH, "14, in CMake's schema of presets"),
            ("objects and lists in a JSON Schema", MAX_SUBSCHEMAS, "3,535, in all schemas of this API together"),
            ("characters of a name or an `$id` in a JSON Schema", MAX_NAME_CHARS, "names of properties have under 100"),
            ("subschemas once references are followed", MAX_EXPANDED, "41,441, in OpenAPI 3.0's own schema"),
            ("patterns in a JSON Schema", MAX_PATTERNS, "49, in OpenAPI 3.0's own schema"),
            ("characters of patterns", MAX_PATTERN_CHARS, "970, in the schema of AWS's policies"),
            ("steps in patterns, counting repeats", MAX_PATTERN_STEPS, "1,724, in AWS's schema of state machines"),
        )
    ),
    Limit(
        name="processor seconds of a check",
        value=f"{CHECK_SECONDS:g}",
        counted="request that has graders or tools",
        above="400 `invalid_grader` or `invalid_tools`",
        change="`TUNEGATE_EVALUATION_SECONDS` lowers it",
        honest_use="the schemas of this table take up to 30 milliseconds",
    ),
    Limit(
        name="waiting checks",
        value=_shown(MAX_WAITING_CHECKS),
        counted="project in a process of the API",
        above="429 `rate_limit_exceeded`",
        change=FIXED,
        honest_use="a check takes milliseconds, and what was valid is remembered",
    ),
    _by_setting(
        "evaluation_seconds",
        name="processor seconds of an evaluation",
        counted="grader and answer, or generated call",
        above="the run fails with `evaluation_limit_exceeded`",
        honest_use="a grader usually takes under a millisecond, and the slowest RE2 pattern about a second",
    ),
    _by_setting(
        "evaluation_memory_bytes",
        name="memory of an evaluation",
        counted="evaluation process",
        above="400 for a check; the run fails with `evaluation_limit_exceeded`",
        honest_use="about 4 MB of answers are graded at a time",
    ),
    _by_setting(
        "evaluation_processes",
        name="evaluations at the same time",
        counted="process of the API or of a worker; a project gets at most half of what others leave",
        above="waits",
        honest_use="a check takes milliseconds, and the answers of a run some seconds",
    ),
    Limit(
        name="processor seconds of a tool's definition or call",
        value=f"{SCHEMA_SECONDS:g}",
        counted="definition or call, in a file and in a generation",
        above="finding `limit_reached`; a generation fails with `evaluation_limit_exceeded`",
        change=FIXED,
        honest_use="both usually take microseconds",
    ),
    Limit(
        name="characters of an answer that a pattern matches",
        value=_shown(MAX_MATCHED_CHARACTERS),
        counted="answer",
        above="the answer fails the grader, which says so",
        change=FIXED,
        honest_use="10,000 tokens of English",
    ),
    Limit(
        name="bytes of an answer in a run",
        value=_shown(MAX_MESSAGE_BYTES),
        counted="answer",
        above="the answer is cut, as at its limit of tokens",
        change=FIXED,
        honest_use="128,000 tokens, the longest answers of today's models, have about 512 KB",
    ),
    Limit(
        name="values of an answer in a run",
        value=_shown(MAX_MESSAGE_VALUES),
        counted="answer",
        above="the answer is cut, as at its limit of tokens",
        change=FIXED,
        honest_use="an answer that calls 128 functions has about 640",
    ),
    Limit(
        name=f"bytes of all answers of a run, each JSON value counted as {VALUE_BYTES} more",
        value=_shown(MAX_ANSWERS_BYTES),
        counted="generation or comparison",
        above="the run fails with `answers_too_large`",
        change="fewer examples or a smaller `max_tokens`",
        honest_use="5,000 cases of eight models with 512 tokens each have about 80 MB",
    ),
    Limit(
        name="bytes of the examples of a comparison",
        value=_shown(MAX_CASES_BYTES),
        counted="comparison",
        above="it fails with `too_many_examples`",
        change="`max_examples`",
        honest_use="5,000 examples of 3,000 tokens each have about 60 MB",
    ),
    Limit(
        name="values of the examples of a comparison",
        value=_shown(MAX_CASES_VALUES),
        counted="comparison",
        above="it fails with `too_many_examples`",
        change="`max_examples`",
        honest_use="64 MB of text have 1,300,000 commas, which count as values",
    ),
    Limit(
        name="values of an example of a comparison",
        value=_shown(MAX_CASE_VALUES),
        counted="example",
        above="it fails with `invalid_file_format`, which names the line",
        change=FIXED,
        honest_use="a request has no more; a training row of some megabytes has some thousand",
    ),
    Limit(
        name="bytes of a reinforcement job's grader",
        value=_shown(MAX_GRADER_BYTES),
        counted="job",
        above="400 `invalid_value`",
        change=FIXED,
        honest_use="OpenAI's limit for the source of a Python grader is 256 kB",
    ),
)
"""Schemas, patterns and graders that callers wrote."""

REQUESTS: tuple[Limit, ...] = (
    _by_setting(
        "max_header_bytes",
        name="bytes of the URL and the headers",
        counted="request; trailers and extensions of chunks count alike",
        above="431 `header_too_large`",
        honest_use="the SDK sends under 1 KB; other servers accept 8 to 64 KB",
    ),
    _by_setting(
        "max_headers",
        name="headers",
        counted="request",
        above="431 `header_too_large`",
        honest_use="the SDK behind two proxies sends under 30",
    ),
    _by_setting(
        "header_seconds",
        name="seconds until the headers are complete",
        counted="connection, and again after each response",
        above="408 `request_timeout`",
        honest_use="clients send all headers at once",
    ),
    _by_setting(
        "max_connections_without_request",
        name="connections without a request in progress",
        counted="process",
        above="the oldest is closed",
        honest_use="a client keeps a handful of idle connections, and uses another when one is closed",
    ),
    Limit(
        name="requests sent before their answers",
        value=_shown(MAX_PIPELINED),
        counted="connection",
        above="the connection is closed",
        change=FIXED,
        honest_use="HTTP clients in use send one",
    ),
    Limit(
        name=f"seconds in which a client accepts less than {MIN_SENT_PER_SECOND} bytes a second of its response",
        value=_shown(int(SEND_SECONDS)),
        counted="connection",
        above="the connection is closed",
        change=FIXED,
        honest_use="the slowest mobile connections (GPRS) have 4 KB/s",
    ),
    _by_setting(
        "body_idle_seconds",
        name="seconds in which a body pauses, or has less than 1,024 bytes a second",
        counted="request",
        above="408 `request_timeout`",
        honest_use="mobile connections pause for some seconds; the slowest (GPRS) have 4 KB/s",
    ),
    Limit(
        name="seconds of a body without an API key (an upstream's webhook)",
        value=_shown(int(BODY_SECONDS)),
        counted="request",
        above="408 `request_timeout`",
        change=FIXED,
        honest_use="OpenAI's events have under 1 KB, and come with their headers",
    ),
    Limit(
        name="bodies without an API key that are being read",
        value=_shown(MAX_BODIES),
        counted="process",
        above="the oldest is refused: 408 `request_timeout`",
        change=FIXED,
        honest_use="an honest one is read within milliseconds",
    ),
    _by_setting(
        "json_body_seconds",
        name="seconds of a JSON body",
        counted="request",
        above="408 `request_timeout`",
        honest_use="50 MB of images at 4 Mbit/s take 100 s",
    ),
    Limit(
        name="levels of JSON",
        value=_shown(MAX_DEPTH),
        counted="request; answer of an upstream",
        above="400 `invalid_json`; 502 `upstream_answer_too_large`",
        change=FIXED,
        honest_use="OpenAI accepts schemas of ten levels, which are thirty of JSON",
    ),
    Limit(
        name="values of JSON",
        value=_shown(MAX_VALUES),
        counted="request; answer of an upstream",
        above="400 `invalid_json`; 502 `upstream_answer_too_large`",
        change=FIXED,
        honest_use="a prompt of 128,000 token ids",
    ),
    Limit(
        name="values of an answer with `logprobs`",
        value=_shown(MAX_LARGE_VALUES),
        counted="call",
        above="502 `upstream_answer_too_large`",
        change=FIXED,
        honest_use="16,000 tokens with 20 alternatives each have 2,440,000",
    ),
    Limit(
        name="parameters of a URL",
        value=_shown(MAX_QUERY_PARAMETERS),
        counted="request",
        above="400 `invalid_value`",
        change=FIXED,
        honest_use="the list with the most filters takes 16",
    ),
    _by_setting(
        "max_project_memory_bytes",
        name="memory of bodies and answers",
        counted="project in a process",
        above="429 `memory_limit_exceeded`",
        honest_use="nine concurrent requests with 10 MB of images each, counted twice",
    ),
    _by_setting(
        "max_answer_bytes",
        name="bytes of an upstream's answer to inference (four times as many as a stream)",
        counted="call",
        above="502 `upstream_answer_too_large`",
        honest_use="16,000 tokens with 20 alternatives each have 25 MB",
    ),
    Limit(
        name="bytes of an event of an upstream's stream",
        value=_shown(MAX_LINE_BYTES),
        counted="event",
        above="`upstream_answer_too_large` as the stream's last event",
        change=FIXED,
        honest_use="an event with 20 alternatives of a token has 2 KB",
    ),
    Limit(
        name="bytes of an answer's head, interim responses included",
        value=_shown(MAX_HEAD_BYTES),
        counted="answer of an upstream or of a webhook's receiver",
        above="the upstream counts as unavailable; the delivery's attempt fails as `protocol_error`",
        change=FIXED,
        honest_use="heads have under 4 KB",
    ),
    Limit(
        name="least average bytes of a piece (chunk) of an answer, after 1,000 pieces",
        value=_shown(MIN_PIECE_BYTES),
        counted="answer of an upstream",
        above="the upstream counts as unavailable",
        change=FIXED,
        honest_use="a streamed token has some 200",
    ),
    Limit(
        name="values of an event of an upstream's stream",
        value=_shown(MAX_EVENT_VALUES),
        counted="event",
        above="`upstream_answer_too_large` as the stream's last event",
        change=FIXED,
        honest_use="a token with 20 alternatives has some 300",
    ),
    Limit(
        name="least average bytes of a line of a stream, after 1,000 lines",
        value=_shown(MIN_LINE_BYTES),
        counted="answer of an upstream",
        above="`upstream_answer_too_large` as the stream's last event",
        change=FIXED,
        honest_use="a streamed token has a line of some 200 and an empty one",
    ),
    Limit(
        name="bytes of an upstream's other answers",
        value=_shown(MAX_CONTROL_BYTES),
        counted="answer",
        above="the upstream counts as unavailable",
        change=FIXED,
        honest_use="a page of a hundred jobs has some 100 KB",
    ),
    Limit(
        name="bytes of a JSON body",
        value=_shown(MAX_BODY_BYTES),
        counted="request",
        above="413 `request_too_large`",
        change=FIXED,
        honest_use="the largest create in the SDK's documentation has some KB",
    ),
    Limit(
        name="bytes of a body of inference",
        value=_shown(MAX_INFERENCE_BYTES),
        counted="request",
        above="413 `request_too_large`",
        change=FIXED,
        honest_use="OpenAI accepts 50 MB of images in a request",
    ),
    Limit(
        name="bytes of an upstream's webhook",
        value=_shown(MAX_INBOUND_BYTES),
        counted="request",
        above="413 `request_too_large`",
        change=FIXED,
        honest_use="OpenAI's events have under 1 KB",
    ),
    Limit(
        name="parts of a multipart body",
        value=_shown(MAX_FIELDS),
        counted="request",
        above="400 `invalid_multipart`",
        change=FIXED,
        honest_use="the SDK sends at most four",
    ),
    Limit(
        name="bytes of a text field of a multipart body",
        value=_shown(MAX_FIELD_BYTES),
        counted="field",
        above="400 `invalid_value`",
        change=FIXED,
        honest_use="purposes and expiry rules have under 100 bytes",
    ),
    Limit(
        name="bytes of a multipart body beside its file",
        value=_shown(MAX_FORM_BYTES),
        counted="request",
        above="413 `request_too_large`",
        change=FIXED,
        honest_use="the fields of the SDK have under 1 KB",
    ),
    Limit(
        name="characters of a multipart boundary",
        value=_shown(MAX_BOUNDARY),
        counted="request",
        above="400 `invalid_content_type`",
        change=FIXED,
        honest_use="the standard's own limit; clients use 16 to 60",
    ),
)
"""What a request may consist of."""

FILES: tuple[Limit, ...] = (
    _by_setting(
        "max_file_bytes",
        name="bytes of a file in one request",
        counted="file; a project can have a lower `max_file_bytes`",
        above="413 `file_too_large`",
        honest_use="OpenAI's own limit is 512 MB",
    ),
    _by_setting(
        "max_upload_bytes",
        name="bytes of a file in parts",
        counted="upload; a project can have a lower `max_file_bytes`",
        above="413 `file_too_large`",
        honest_use="OpenAI's own limit is 8 GB",
    ),
    Limit(
        name="bytes of a part",
        value=_shown(MAX_PART_BYTES),
        counted="part",
        above="413 `file_too_large`",
        change=FIXED,
        honest_use="OpenAI's own limit, and the SDK's size of a part",
    ),
    Limit(
        name="parts of an upload",
        value=_shown(MAX_PARTS),
        counted="upload",
        above="400 `invalid_value`",
        change=FIXED,
        honest_use="8 GB in parts of the SDK's size are 128",
    ),
    _by_setting(
        "dataset_memory_bytes",
        name="memory (address space) for one dataset",
        counted="process of a report, preparation or comparison",
        above="report: finding `limit_reached`; preparation: `preparation_limit_exceeded`",
        honest_use="a workbook of nine million cells takes 1.2 GB, 60 MB of JSON as pandas writes it 0.8 GB",
    ),
    _by_setting(
        "dataset_cpu_seconds",
        name="processor seconds for one dataset",
        counted="dataset, and as many again for each 100 MB",
        above="as for memory",
        honest_use="512 MB take 10 to 40 seconds, a workbook of nine million cells 35",
    ),
    _by_setting(
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
    _input("columns of a table, keys of the first rows", MAX_COLUMNS, "file", "Excel's own limit"),
    _input("characters of a row of a table", MAX_RECORD_CHARS, "row", "the longest context has about 4 MB"),
    _input("lines of a row of a table", MAX_RECORD_LINES, "row", "cells with pasted documents have some hundred"),
    Limit(
        name="values of one line",
        value=_shown(MAX_LINE_VALUES),
        counted="line",
        above="finding `too_many_values`",
        change=FIXED,
        honest_use="a training row of some megabytes has some thousand",
    ),
)
"""What a file may consist of, and the work on it."""

PLACES: tuple[Limit, ...] = (
    Limit(
        name="events of streamed answers",
        value=f"{_shown(MAX_EVENTS_PER_SECOND)} a second",
        counted="project in a process",
        above="waits",
        change=FIXED,
        honest_use="fifty streams of a hundred tokens a second",
    ),
    _by_setting(
        "max_concurrent_requests",
        name="requests in progress",
        counted="project in a process",
        above="429 `rate_limit_exceeded`, before the body is read",
        honest_use="200 inference calls and 50 event streams leave 262; a notebook or batch has at most a hundred",
    ),
    _by_setting(
        "max_inference_calls",
        name="concurrent inference calls",
        counted="process; a project has at most half of what others leave",
        above="429 `concurrency_limit_exceeded`",
        honest_use="a batch of the SDK with 100 connections; OpenAI's lowest tier allows 500 requests a minute",
    ),
    _by_setting(
        "database_pool_size",
        name="database connections",
        counted="process; a fifth is for key look-ups and work across projects, and of the rest a project gets at most "
        "half of those that others leave",
        above="waits 10 s, then 503 `service_unavailable`",
        honest_use="a request uses one for some milliseconds: eight serve two thousand a second",
    ),
    _by_setting(
        "max_concurrent_uploads",
        name="uploads, parts and completions in progress",
        counted="project in a process",
        above="429 `rate_limit_exceeded`, which the SDK repeats",
        honest_use="the SDK sends parts one after the other, scripts eight to ten at a time",
    ),
    _by_setting(
        "max_open_uploads",
        name="open uploads",
        counted="project",
        above="429 `too_many_uploads`",
        honest_use="an upload is a file, and is completed within minutes; it expires after an hour",
    ),
    _by_setting(
        "max_concurrent_downloads",
        name="downloads of files in progress",
        counted="project in a process",
        above="429 `rate_limit_exceeded`, which the SDK repeats",
        honest_use="a script downloads ten to twenty files at a time",
    ),
    Limit(
        name="exports of a comparison's cases in progress",
        value=_shown(MAX_EXPORTS),
        counted="project in a process",
        above="429 `rate_limit_exceeded`",
        change=FIXED,
        honest_use="a person downloads one",
    ),
    _by_setting(
        "max_event_streams",
        name="open event streams",
        counted="project in a process",
        above="429 `too_many_streams`",
        honest_use="a notebook follows one job, and `tunegate listen` one project",
    ),
    Limit(
        name="fetches of a project's event streams",
        value=f"{MAX_FETCHES_PER_SECOND} a second",
        counted="project in a process",
        above="waits: each of 50 streams has new events after 2.5 s instead of half a second",
        change=FIXED,
        honest_use="up to ten streams do not notice it",
    ),
    Limit(
        name="name look-ups at the same time",
        value=_shown(MAX_LOOKUPS),
        counted="process, for webhooks and for upstreams; a project gets at most half of those that others leave",
        above="waits; the attempt then ends as `timeout`",
        change=FIXED,
        honest_use="a look-up takes some milliseconds, so that a thousand endpoints occupy a few",
    ),
    Limit(
        name="long texts whose tokens are counted at the same time",
        value=_shown(COUNTING_THREADS),
        counted="process; a project gets at most half of those that others leave",
        above="waits",
        change=FIXED,
        honest_use="counting a megabyte takes a tenth of a second",
    ),
)
"""Places that projects share: connections, streams, look-ups, processes, concurrent steps."""

KEYS: tuple[Limit, ...] = (
    _by_setting(
        "failed_keys_per_minute",
        name="requests a minute with incorrect keys",
        counted="client address in a process",
        above="429 `rate_limit_exceeded` for incorrect keys; a valid key is never refused",
        honest_use="a deployment with an outdated key, retried by the SDK, sends some dozens",
    ),
    Limit(
        name="queries for keys at the same time",
        value=_shown(MAX_QUERIES),
        counted=f"process, each for up to {MAX_KEYS} keys",
        above="waits for the next query, some milliseconds",
        change=FIXED,
        honest_use="a key is looked up twice a second at most, however often it is used",
    ),
    Limit(
        name="audit entries of unknown keys",
        value=_shown(UNKNOWN_KEY_SUBJECTS),
        counted="hour",
        above="counted in the same entries",
        change=FIXED,
        honest_use="one entry with its `count` says what several would",
    ),
    Limit(
        name="addresses of `X-Forwarded-For` that are read",
        value=_shown(MAX_HOPS),
        counted="request",
        above="the left ones are not read",
        change=FIXED,
        honest_use="a content delivery network and two load balancers are three",
    ),
    _by_setting(
        "failed_keys_per_minute",
        name="upstream webhooks a minute with incorrect signatures",
        counted="client address and upstream account in a process",
        above="429 `rate_limit_exceeded` for incorrect signatures; a valid one is never refused for it",
        honest_use="an upstream with an outdated secret repeats each event a few times",
    ),
    _by_setting(
        "requests_per_minute",
        name="valid upstream webhooks a minute",
        counted="upstream account",
        above="429 `rate_limit_exceeded`; the upstream sends it again, and polling continues",
        honest_use="an upstream sends one for each job that ends",
    ),
    Limit(
        name="valid upstream webhooks that are stored at the same time",
        value=_shown(STORING),
        counted="process; an account gets at most half of the places that others leave",
        above=f"waits; 429 `rate_limit_exceeded` above {MAX_WAITING:,} of an account",
        change=FIXED,
        honest_use="storing one takes some milliseconds",
    ),
    Limit(
        name="connections of the internal listener",
        value=_shown(MAX_CONNECTIONS),
        counted="process",
        above="503",
        change=FIXED,
        honest_use="a monitoring system opens one or two",
    ),
    _by_setting(
        "requests_per_minute",
        name="requests a minute",
        counted="project; see the rate limits above",
        above="429 `rate_limit_exceeded`",
        honest_use="a hundred jobs polled every ten seconds are 600",
    ),
)
"""Requests and keys."""

_DELAYED = "waits; nothing is refused"
_SHARE = "worker; a project gets at most half of what others leave"


def _by_worker_place(name: str, value: int, honest_use: str) -> Limit:
    """Steps of one kind of leased work that a worker runs at a time."""
    return Limit(
        name=name, value=_shown(value), counted=_SHARE, above=_DELAYED, change="more workers", honest_use=honest_use
    )


WORK: tuple[Limit, ...] = (
    Limit(
        name="deliveries that a recovery makes pending",
        value=_shown(MAX_RECOVERED),
        counted="call; a project's calls run one after the other",
        above="`has_more`: repeat the call",
        change=FIXED,
        honest_use="a day without a receiver at three events a minute",
    ),
    _by_setting(
        "max_unfinished_work",
        name="unfinished preparations; unfinished generations and comparisons",
        counted="project, each",
        above="429 `too_much_unfinished_work`",
        honest_use="as many jobs may be queued by default; a sweep starts some dozens",
    ),
    Limit(
        name="file reports that are not ready; leakage reports that are not ready",
        value=_shown(MAX_UNFINISHED_REPORTS),
        counted="project, each; workers' own files do not count against it",
        above="429 `too_much_unfinished_work`",
        change=FIXED,
        honest_use="a script that uploads 5,000 training files of an archive within minutes",
    ),
    _by_setting(
        "worker_concurrency",
        name="steps of jobs",
        counted=_SHARE,
        above=_DELAYED,
        honest_use="a step takes well under a second while its upstream answers, so 32 of one project poll 10,000 jobs",
    ),
    _by_worker_place("polls of accounts", ACCOUNT_POLLS, "a project has at most 20 accounts of its own"),
    _by_worker_place("time slices of generations and comparisons", RUNS, "8 of one project, as many as before"),
    Limit(
        name="calls in flight of generations and comparisons",
        value=_shown(RUNS * Settings().run_concurrency),
        counted=_SHARE,
        above=_DELAYED,
        change="`TUNEGATE_RUN_CONCURRENCY` (16 times that), more workers",
        honest_use="8 runs of one project with 16 calls each",
    ),
    _by_worker_place(
        "deployments whose comparison begins or has ended", DEPLOYMENTS, "a step takes some tens of milliseconds"
    ),
    _by_worker_place("deletions of files, models and projects", DELETIONS, "8 of one project, as many as before"),
    _by_worker_place(
        "attempts of deliveries", DELIVERIES, "32 endpoints of one project with four attempts each at the same time"
    ),
    _by_worker_place(
        f"attempts at endpoints whose last attempt took over {SLOW_SECONDS:.0f} s",
        SLOW_DELIVERIES,
        "receivers do their work after they have answered, within some hundred milliseconds",
    ),
    _by_worker_place("attempts at endpoints whose last attempt failed", RETRIES, "one attempt at a time for each"),
)
"""Leased work in workers."""

GROUPS = {
    "Requests": REQUESTS,
    "Keys and rates": KEYS,
    "Files": FILES,
    "Schemas, patterns and graders": EVALUATION,
    "Places that projects share": PLACES,
    "Work of workers": WORK,
}


def limits_markdown() -> str:
    """The section that lists every bound."""
    parts = [HEADING, "\nThis section is generated from the code: `make docs`. ", INTRODUCTION]
    for title, limits in GROUPS.items():
        rows = "".join(
            f"| {each.name} | {each.value} | {each.counted} | {each.above} | {each.change} | {each.honest_use} |\n"
            for each in limits
        )
        if rows:
            parts.append(
                f"\n### {title}\n\n| limit | value | counted per | above it | changed by | checked against |\n"
                f"|---|---|---|---|---|---|\n{rows}"
            )
    return "".join(parts)


INTRODUCTION = (
    "Whatever a caller's bytes decide has a bound, which is checked before the\ncost arises. A bound that is counted "
    "per project does not depend on what other projects do.\n"
)


def with_limits(page: str) -> str:
    """The page with its last section regenerated."""
    return page.partition(HEADING)[0] + limits_markdown()
