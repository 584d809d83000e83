"""Bounds of schemas, patterns and graders that callers write."""

from service.datasets.checks.tools import SCHEMA_SECONDS
from service.documented_limits.limit import FIXED, Limit, by_setting, shown
from service.jobs.rules import MAX_GRADER_BYTES
from service.json_limits import VALUE_BYTES
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
from service.runs.comparisons.cases import MAX_CASES_BYTES, MAX_CASES_VALUES
from service.runs.comparisons.cases import MAX_LINE_VALUES as MAX_CASE_VALUES
from service.runs.comparisons.graders.regular_expression import MAX_CHARACTERS as MAX_MATCHED_CHARACTERS
from service.runs.evaluator import CHECK_SECONDS, MAX_WAITING_CHECKS
from service.runs.messages import MAX_MESSAGE_BYTES, MAX_MESSAGE_VALUES
from service.runs.plan import MAX_ANSWERS_BYTES

EVALUATION: tuple[Limit, ...] = (
    *(
        Limit(
            name=name,
            value=shown(value),
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
        value=shown(MAX_WAITING_CHECKS),
        counted="project in a process of the API",
        above="429 `rate_limit_exceeded`",
        change=FIXED,
        honest_use="a check takes milliseconds, and what was valid is remembered",
    ),
    by_setting(
        "evaluation_seconds",
        name="processor seconds of an evaluation",
        counted="grader and answer, or generated call",
        above="the run fails with `evaluation_limit_exceeded`",
        honest_use="a grader usually takes under a millisecond, and the slowest RE2 pattern about a second",
    ),
    by_setting(
        "evaluation_memory_bytes",
        name="memory of an evaluation",
        counted="evaluation process",
        above="400 for a check; the run fails with `evaluation_limit_exceeded`",
        honest_use="about 4 MB of answers are graded at a time",
    ),
    by_setting(
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
        value=shown(MAX_MATCHED_CHARACTERS),
        counted="answer",
        above="the answer fails the grader, which says so",
        change=FIXED,
        honest_use="10,000 tokens of English",
    ),
    Limit(
        name="bytes of an answer in a run",
        value=shown(MAX_MESSAGE_BYTES),
        counted="answer",
        above="the answer is cut, as at its limit of tokens",
        change=FIXED,
        honest_use="128,000 tokens, the longest answers of today's models, have about 512 KB",
    ),
    Limit(
        name="values of an answer in a run",
        value=shown(MAX_MESSAGE_VALUES),
        counted="answer",
        above="the answer is cut, as at its limit of tokens",
        change=FIXED,
        honest_use="an answer that calls 128 functions has about 640",
    ),
    Limit(
        name=f"bytes of all answers of a run, each JSON value counted as {VALUE_BYTES} more",
        value=shown(MAX_ANSWERS_BYTES),
        counted="generation or comparison",
        above="the run fails with `answers_too_large`",
        change="fewer examples or a smaller `max_tokens`",
        honest_use="5,000 cases of eight models with 512 tokens each have about 80 MB",
    ),
    Limit(
        name="bytes of the examples of a comparison",
        value=shown(MAX_CASES_BYTES),
        counted="comparison",
        above="it fails with `too_many_examples`",
        change="`max_examples`",
        honest_use="5,000 examples of 3,000 tokens each have about 60 MB",
    ),
    Limit(
        name="values of the examples of a comparison",
        value=shown(MAX_CASES_VALUES),
        counted="comparison",
        above="it fails with `too_many_examples`",
        change="`max_examples`",
        honest_use="64 MB of text have 1,300,000 commas, which count as values",
    ),
    Limit(
        name="values of an example of a comparison",
        value=shown(MAX_CASE_VALUES),
        counted="example",
        above="it fails with `invalid_file_format`, which names the line",
        change=FIXED,
        honest_use="a request has no more; a training row of some megabytes has some thousand",
    ),
    Limit(
        name="bytes of a reinforcement job's grader",
        value=shown(MAX_GRADER_BYTES),
        counted="job",
        above="400 `invalid_value`",
        change=FIXED,
        honest_use="OpenAI's limit for the source of a Python grader is 256 kB",
    ),
)
"""Schemas, patterns and graders that callers wrote."""
