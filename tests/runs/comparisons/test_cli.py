"""`tunegate compare`: the quote, the table, the exit status, the files, and what it refuses."""

import csv
import json
from pathlib import Path

import pytest

from cli.arguments.compare import CompareArguments
from cli.compare import read_body
from cli.errors import Refused
from tests.cli.test_main import tunegate
from tests.stack import DevStack
from tests.wire import chat_rows, jsonl, new_tenant


@pytest.fixture(scope="module")
def environment(stack: DevStack) -> dict[str, str]:
    """A project of its own at the default stack."""
    ready = stack.ready()
    tenant = new_tenant(ready["base_url"], ready["database_url"])
    return {"OPENAI_BASE_URL": tenant.base_url, "OPENAI_API_KEY": tenant.key}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Questions about rivers."""
    path = tmp_path / "rivers.jsonl"
    path.write_bytes(jsonl(chat_rows(12)))
    return path


@pytest.mark.timeout(300)
def test_from_the_file_to_the_table(environment: dict[str, str], rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    graders = ["--grader", "text_similarity", "--grader", '{"type": "contains", "name": "river", "text": "River"}']
    arguments = [str(rows), "--model", "gpt-4o-mini", "--model", "gpt-4o", *graders, "--max-tokens", "20", "--yes"]
    done = tunegate("compare", *arguments, "--out", str(out), environment=environment)
    assert done.returncode == 0, done.stderr
    for words in (
        "24 to 24", "12 of 12 examples", "text_similarity: score", "river: passed", "win rate", "gpt-4o-mini",
    ):  # fmt: skip
        assert words in done.stdout, done.stdout
    with out.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["line"] for row in table] == [str(line) for line in range(1, 13)]
    beaten = tunegate("compare", *arguments, "--must-beat", "--json", environment=environment)
    shown = json.loads(beaten.stdout)
    better = shown["result"]["models"][1]["difference"]["value"] > 0
    assert beaten.returncode == (0 if better else 3)
    followed = tunegate("compare", "--watch", shown["id"], environment=environment)
    assert (followed.returncode, "12 of 12" in followed.stdout) == (0, True)
    late = tunegate("compare", "--cancel", shown["id"], environment=environment)
    assert (late.returncode, "nothing is left to cancel" in late.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name the file"),
        (["FILE"], "Name the models"),
        (["FILE", "--model", "gpt-4o-mini", "--grader", "vibes=1"], "--grader vibes=… is not known"),
        (["FILE", "--model", "gpt-4o-mini", "--grader", "{"], "is no JSON object"),
        (["FILE", "--model", "gpt-4o-mini", "--grader", "json_schema=none.json"], "no JSON Schema"),
        (["none.jsonl", "--model", "gpt-4o-mini"], "there is no file"),
        (["file-none", "--model", "gpt-4o-mini"], "No file 'file-none'"),
        (["FILE", "--model", "gpt-none"], "gpt-none"),
        (["FILE", "--model", "gpt-4o-mini"], "--yes"),
    ],
)
def test_what_makes_no_sense_is_status_2(
    environment: dict[str, str], rows: Path, arguments: list[str], words: str
) -> None:
    given = [str(rows) if each == "FILE" else each for each in arguments]
    done = tunegate("compare", *given, environment=environment)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr


def test_graders_in_short(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')

    def read(*graders: str) -> list[dict[str, object]]:
        arguments = CompareArguments(
            file="file-1", models=("a",), graders=graders, options={"seed": 3, "budget": None}, out=None,
            must_beat=False, yes=True, as_json=False,
        )  # fmt: skip
        body = read_body(arguments)
        assert (body["seed"], "budget" in body) == (3, False)
        graded: list[dict[str, object]] = body["graders"]
        return graded

    assert read() == [{"type": "exact"}]
    assert read("regular_expression=a=b", "judge=gpt-4.1", f"json_schema={schema}", "contains=x") == [
        {"type": "regular_expression", "pattern": "a=b"},
        {"type": "judge", "model": "gpt-4.1"},
        {"type": "json_schema", "schema": {"type": "object"}},
        {"type": "contains", "text": "x"},
    ]
    with pytest.raises(Refused):
        read("exact=1")
