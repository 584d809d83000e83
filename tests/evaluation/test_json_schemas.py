"""Schemas that would cost too much are refused by counting; what teams really write passes."""

import json
import time
from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest
import schemathesis
import yaml

from service.datasets.checks.tools import definitions
from service.json_schemas import (
    MAX_DEPTH,
    MAX_EXPANDED,
    MAX_PATTERN_CHARS,
    MAX_PATTERN_STEPS,
    MAX_SCHEMA_BYTES,
    MAX_SUBSCHEMAS,
    limit_exceeded,
    pattern_steps,
)
from tests.evaluation.bombs import doubling, many_patterns, recursive

ROOT = Path(__file__).parents[2]
SCHEMATHESIS = Path(schemathesis.__file__).parent


class Node(pydantic.BaseModel):
    """A recursive model."""

    value: int
    children: "list[Node]" = []


class Literals(pydantic.BaseModel):
    """A leaf of an expression."""

    kind: Literal["literal"]
    number: float


class Sum(pydantic.BaseModel):
    """Two unions that refer back to this model."""

    kind: Literal["sum"]
    left: "Literals | Sum"
    right: "Literals | Sum"


def deep(levels: int, keyword: str = "allOf") -> dict[str, Any]:
    """A schema that is nested that deep."""
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {keyword: [schema]}
    return schema


BOMBS: dict[str, tuple[object, str]] = {
    "doubling references": (doubling(27), f"more than {MAX_EXPANDED:,} subschemas"),
    "doubling references by a dynamic one": (
        {
            "$defs": {
                f"a{level}": {"$dynamicAnchor": f"a{level}", "anyOf": [{"$dynamicRef": f"#a{level + 1}"}] * 2}
                for level in range(40)
            },
            "$dynamicRef": "#a0",
        },
        f"more than {MAX_EXPANDED:,} subschemas",
    ),
    "doubling references into properties": (
        {
            "properties": {f"a{level}": {"anyOf": [{"$ref": f"#/properties/a{level + 1}"}] * 3} for level in range(20)},
        },
        f"more than {MAX_EXPANDED:,} subschemas",
    ),
    "doubling references in a document of its own": (
        {"$id": "https://a.example/", "$defs": {"b": {"$id": "b", **doubling(3)}}, **doubling(27)},
        f"more than {MAX_EXPANDED:,} subschemas",
    ),
    "patterns": (many_patterns(3_000), "patterns"),
    "names by patterns": ({"patternProperties": {f"^x{each}": {} for each in range(500)}}, "patterns"),
    "counted repeats": ({"pattern": "((a{100}){100}){100}"}, f"{MAX_PATTERN_STEPS:,} steps"),
    "repeats of a large class": ({"pattern": r"\p{L}{1,1000}"}, f"{MAX_PATTERN_STEPS:,} steps"),
    "a long pattern": ({"pattern": f"[{'a' * MAX_PATTERN_CHARS}]"}, f"{MAX_PATTERN_CHARS:,} characters of patterns"),
    "bytes": ({"enum": ["a" * MAX_SCHEMA_BYTES]}, f"{MAX_SCHEMA_BYTES:,}"),
    "many values": ({"enum": [[]] * MAX_SUBSCHEMAS}, f"{MAX_SUBSCHEMAS:,} objects and lists"),
    "depth": (deep(MAX_DEPTH), f"at most {MAX_DEPTH} levels"),
    "great depth": (deep(100_000), "nested too deep"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_schema_over_a_limit_is_named_with_the_limit(name: str) -> None:
    schema, words = BOMBS[name]
    began = time.process_time()
    exceeded = limit_exceeded(schema)
    assert exceeded is not None, name
    assert words in exceeded
    assert len(exceeded) < 400
    assert time.process_time() - began < 20, "a few milliseconds; what is counted would take hours"


def _of_openapi() -> dict[str, Any]:
    """Every schema of this service's own document, each with all others as its definitions."""
    document = json.dumps(
        yaml.load((ROOT / "openapi.yaml").read_bytes(), Loader=yaml.CSafeLoader)["components"]["schemas"], default=str
    )
    schemas: dict[str, Any] = json.loads(document.replace("#/components/schemas/", "#/$defs/"))
    return {name: {**schema, "$defs": schemas} for name, schema in schemas.items()}


def _of_examples() -> dict[str, Any]:
    """The parameters of the tools in the files of `examples/`, but for the one that is to exceed a limit."""
    return {
        f"{path.name}:{line}:{function.get('name')}": function["parameters"]
        for path in sorted((ROOT / "examples").rglob("*.jsonl"))
        for line, row in enumerate(path.read_bytes().splitlines())
        if b'"parameters"' in row and path.stem != "schema_too_complex"
        for _, function in definitions(json.loads(row))
        if "parameters" in function
    }


def test_what_teams_write_passes() -> None:
    schemas = {
        **{model.__name__: model.model_json_schema() for model in (Node, Sum)},
        **{str(path): json.loads(path.read_bytes()) for path in SCHEMATHESIS.rglob("schema.json")},
        **_of_openapi(),
        **_of_examples(),
    }
    assert len(schemas) > 200
    assert {name: found for name, schema in schemas.items() if (found := limit_exceeded(schema)) is not None} == {}


@pytest.mark.parametrize(
    "pattern", [r"^\d{4}-\d{2}-\d{2}$", r"^[A-Za-z0-9_-]{1,255}$", r"^\p{L}{1,100}$", "^(a{2}|b)+$"]
)
def test_patterns_of_teams_pass(pattern: str) -> None:
    assert limit_exceeded({"type": "string", "pattern": pattern}) is None


@pytest.mark.parametrize(
    ("pattern", "steps"),
    [
        ("abc", 3),
        ("a{3}", 3),
        ("(ab){2,5}c", 11),
        (r"[a-z\]]{4}", 4),
        (r"\d{2}", 2),
        ("((a{2}){3}){4}", 24),
        ("a{", 2),
        (r"\p{L}{4}", 100),
    ],
)
def test_repeats_multiply(pattern: str, steps: int) -> None:
    assert pattern_steps(pattern) == steps


def test_recursion_counts_once() -> None:
    assert limit_exceeded(recursive()) is None


class TestNames:
    def test_a_long_name_above_many_children_is_refused(self) -> None:
        assert "a name in it has more than 1,000 characters" in str(limit_exceeded({"x" * 100_000: [[]] * 3000}))

    def test_a_long_id_is_refused(self) -> None:
        schema = {"$id": "https://example.com/" + "x" * 100_000, "anyOf": [{"$ref": "#"}] * 1000}
        assert "an $id in it has more than 1,000 characters" in str(limit_exceeded(schema))


def test_brackets_that_never_close_are_counted_in_linear_time() -> None:
    assert pattern_steps("[" * 1_000_000) == 1_000_000


def test_a_pattern_that_is_too_long_is_not_read() -> None:
    assert "characters of patterns" in str(limit_exceeded({"pattern": "[\\]" * 60_000}))
