"""Shorter definitions of functions: what goes, what stays, and that the tokens saved are those of the reports."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.datasets.preparation.options import ToolDefinitions
from service.datasets.preparation.outcome import DefinitionTokens
from service.datasets.preparation.tool_definitions import shorten
from tests.cli.test_main import tunegate
from tests.datasets.preparation.sources import SAFE, make
from tests.datasets.rows import OLD_MODEL, asked, calling, chat, jsonl, message, report_on, tool
from tests.stack import ROOT

WAYS: tuple[ToolDefinitions, ...] = ("without_descriptions", "without_parameters", "without_definitions")
EXAMPLES = ROOT / "examples/function-calling"
SCHEMA = {
    "type": "object",
    "description": "What to look up.",
    "properties": {
        "description": {"type": "string", "description": "A property that is called so."},
        "where": {"anyOf": [{"type": "string", "description": "A city."}, {"$ref": "#/$defs/point"}]},
        "kinds": {"type": "array", "items": {"enum": ["a"], "description": "A kind."}, "default": [{"description": 1}]},
    },
    "$defs": {"point": {"type": "array", "description": "Two numbers.", "prefixItems": [{"description": "x"}]}},
    "required": ["description"],
}

MALFORMED = st.recursive(
    st.none() | st.text() | st.integers(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(("function", "name", "parameters", "properties", "description")), inner)
    ),
)


def declaring(**more: Any) -> dict[str, Any]:
    return asked(tools=[tool("look", SCHEMA, strict=True)], parallel_tool_calls=False, **more)


class TestShorten:
    def test_descriptions_go_but_for_properties_and_values_that_are_called_so(self) -> None:
        (short,) = shorten(declaring(), "without_descriptions")["tools"]
        parameters = short["function"]["parameters"]
        assert "description" not in short["function"]
        assert short["function"]["strict"] is True
        assert parameters == {
            "type": "object",
            "properties": {
                "description": {"type": "string"},
                "where": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/point"}]},
                "kinds": {"type": "array", "items": {"enum": ["a"]}, "default": [{"description": 1}]},
            },
            "$defs": {"point": {"type": "array", "prefixItems": [{}]}},
            "required": ["description"],
        }

    def test_parameters_go_and_with_them_strictness(self) -> None:
        (short,) = shorten(declaring(), "without_parameters")["tools"]
        empty = {"type": "object", "properties": {}}
        assert short["function"] == {"name": "look", "description": "d", "parameters": empty}

    def test_definitions_go_and_what_depends_on_them(self) -> None:
        assert set(shorten(declaring(), "without_definitions")) == {"messages"}

    @pytest.mark.parametrize("way", WAYS)
    def test_of_functions_and_of_preferences_too(self, way: ToolDefinitions) -> None:
        function = tool("look", SCHEMA)["function"]
        older = shorten(asked(functions=[function]), way)
        newer = shorten(asked(tools=[{"type": "function", "function": function}]), way)
        assert older.get("functions") == ([each["function"] for each in newer["tools"]] if "tools" in newer else None)
        row = {"input": asked(tools=[tool("look", SCHEMA)]), "preferred_output": [message("assistant")]}
        assert shorten(row, way)["input"].get("tools") == newer.get("tools")

    @pytest.mark.parametrize("way", WAYS)
    @given(declared=MALFORMED)
    def test_what_is_malformed_is_left_for_its_check(self, way: ToolDefinitions, declared: object) -> None:
        row = {"messages": [], "tools": declared, "functions": declared}
        short = shorten(row, way)
        assert shorten(short, way) == short, "twice is as good as once"


class TestTokens:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("name", ["train.jsonl", "train-functions.jsonl"])
    @pytest.mark.parametrize("fixes", [(), SAFE])
    def test_saved_are_what_the_reports_differ_by(
        self, way: ToolDefinitions, name: str, fixes: tuple[str, ...]
    ) -> None:
        data = (EXAMPLES / name).read_bytes()
        made = make(data, fixes=fixes, tool_definitions=way)
        before, after = report_on(data), report_on(made.training)
        assert before.tokens is not None
        assert after.tokens is not None
        saved = made.result.definition_tokens
        assert saved == DefinitionTokens(
            before=before.tokens.definitions,
            after=after.tokens.definitions,
            saved=before.tokens.definitions - after.tokens.definitions,
        )
        assert saved.saved > 0
        assert (saved.after == 0) == (way == "without_definitions")
        assert after.errors == 0, "what was made can be trained on"
        assert ("calls_without_definitions" in after.counts) == (way == "without_definitions")

    def test_rows_that_are_dropped_do_not_count(self) -> None:
        rows = [calling(), calling(), chat(), calling(tools=[tool(), tool("time", SCHEMA)])]
        made = make(jsonl(*rows), tool_definitions="without_descriptions", model=OLD_MODEL)
        assert made.result.changes["drop_duplicates"] == 1
        before = report_on(jsonl(*rows[1:]), model=OLD_MODEL)
        after = report_on(made.training, model=OLD_MODEL)
        assert made.result.definition_tokens is not None
        assert before.tokens is not None
        assert after.tokens is not None
        assert made.result.definition_tokens.before == before.tokens.definitions
        assert made.result.definition_tokens.after == after.tokens.definitions

    def test_nothing_is_said_where_nothing_was_asked(self) -> None:
        assert make(jsonl(calling())).result.definition_tokens is None

    def test_the_diff_and_the_notes_tell(self) -> None:
        made = make(jsonl(calling(), chat()), tool_definitions="without_parameters")
        (change,) = [each for each in made.changes if each["fix"] == "without_parameters"]
        assert (change["line"], change["action"]) == (1, "changed")
        assert change["pointer"].startswith("/tools/0/function")
        assert any("Ask the tuned model with the definitions" in note for note in made.result.notes)
        assert made.result.options.tool_definitions == "without_parameters"


def test_from_the_command_line(tmp_path: Path) -> None:
    source = EXAMPLES / "train-functions.jsonl"
    done = tunegate("prepare", str(source), "--out", str(tmp_path), "--tool-definitions", "without_definitions")
    assert done.returncode == 0, done.stderr
    assert "removes the definitions of functions, and keeps the calls" in done.stdout
    assert " saved" in done.stdout
    made = [json.loads(line) for line in (tmp_path / "train-functions_prepared.jsonl").read_bytes().splitlines()]
    assert len(made) == 52
    assert not any("tools" in row or "functions" in row for row in made)
    as_json = tunegate(
        "prepare", str(source), "--out", str(tmp_path), "--force", "--json", "--tool-definitions", "without_parameters"
    )
    tokens = json.loads(as_json.stdout)["definition_tokens"]
    assert tokens["saved"] == tokens["before"] - tokens["after"] > 0
