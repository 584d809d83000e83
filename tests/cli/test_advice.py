"""What the command line advises works when it is pasted, and names the command line's own options."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import fields, replace
from pathlib import Path

import pytest

from cli.advice import OPTIONS, command_with_fixes, fix_argument, in_options, prepare_command
from cli.arguments.prepare import PrepareArguments
from cli.main import app
from service.datasets.preparation.schemas import CreatePreparation
from tests.datasets.rows import asked, chat, jsonl, message

ROOT = Path(__file__).parents[2]
BROKEN = sorted(path for path in (ROOT / "examples" / "broken").iterdir() if path.is_file() and path.suffix != ".md")
COMMAND = re.compile(r"tunegate prepare .*")
ONLY_IN_THE_API = re.compile(
    r"\b(?:target_format|prompt_template|system_prompt|validation_share|validation_examples|tool_definitions)\b"
)


def run(*arguments: str) -> int:
    status = app(list(arguments), exit_on_error=False, result_action="return_value")
    assert isinstance(status, int)
    return status


def advised(text: str) -> list[list[str]]:
    """The commands in a report, as a shell splits them."""
    return [list(words) for words in dict.fromkeys(tuple(shlex.split(line)) for line in COMMAND.findall(text))]


@pytest.mark.parametrize("file", BROKEN, ids=lambda path: path.name)
def test_every_command_of_a_report_works(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("check", str(file))
    text = capsys.readouterr().out
    commands = advised(text)
    assert len(commands) == 0 or "fix: tunegate prepare" in text
    for command in commands:
        assert command[:3] == ["tunegate", "prepare", str(file)]
        assert run(*command[1:], "--out", str(tmp_path), "--force") in (0, 1), capsys.readouterr().err


class TestCheck:
    def test_one_command_applies_all_safe_fixes_and_what_remains_is_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "my file.jsonl"
        file.write_bytes(
            jsonl(asked("Why?", ""), asked("Mail ann@corp.com"), chat(message("robot"), message("assistant")))
        )
        run("check", str(file), "--model", "gpt-4o-mini")
        lines = capsys.readouterr().out.splitlines()
        at = lines.index("  All safe fixes:")
        assert lines[at + 1] == f"    tunegate prepare '{file}' --fix safe --model gpt-4o-mini"
        assert "role_unknown (1)" in lines[at + 2]
        assert "personal_email (1, +mask_personal_data)" in lines[at + 2]

    def test_unreadable_rows_are_left_out_only_when_asked(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "data.jsonl"
        file.write_bytes(jsonl(asked(), "{'a': 1}", asked("B?")))
        assert run("prepare", str(file)) == 2
        refused = capsys.readouterr().err
        assert "line 2: Not JSON at character 2" in refused
        [command] = advised(refused)
        assert command[-1] == "safe,+drop_unreadable"
        run("check", str(file))
        assert "+drop_unreadable leaves them out" in capsys.readouterr().out
        assert run(*command[1:]) == 0

    def test_the_columns_of_a_table_are_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "faq.csv"
        file.write_text("Frage,Question,Answer\nW?,Why?,So.\nX?,How?,Thus.\n")
        run("check", str(file))
        assert advised(capsys.readouterr().out) == [
            ["tunegate", "prepare", str(file), "--columns", "prompt=Question,answer=Answer"]
        ]

    def test_columns_that_cannot_be_guessed_are_asked_for(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "faq.csv"
        file.write_text("spring,autumn\nwarm,cold\nmild,wet\n")
        run("check", str(file))
        text = capsys.readouterr().out
        assert "--columns prompt=NAME,answer=NAME" in text
        assert advised(text) == []

    def test_different_faults_of_one_code_are_all_said(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "data.jsonl"
        file.write_bytes(jsonl(asked(), "// ours", '{"a": 1,}', '{"b": 2,}'))
        run("check", str(file))
        text = " ".join(capsys.readouterr().out.split())
        assert "line 2: Not JSON at character 1 of this line: this line is a comment" in text
        assert "line 3: Not JSON at character 9 of this line: a comma stands before" in text
        assert "line 4:" not in text

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("trian.jsonl", "did you mean"),
            ("*.csv", "no file matches"),
            (".", "is a folder; name one file in it, such as"),
            ("none/train.jsonl", "there is no file"),
        ],
    )
    @pytest.mark.parametrize("command", ["check", "prepare"])
    def test_a_file_that_is_not_there(
        self, command: str, name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "train.jsonl").write_bytes(jsonl(asked()))
        assert run(command, str(tmp_path / name)) == 2
        assert words in capsys.readouterr().err


class TestWords:
    def test_every_option_of_the_api_has_one_of_the_command_line(self) -> None:
        api = {name for name in CreatePreparation.__struct_fields__ if name not in ("file", "outputs")}
        assert api <= set(OPTIONS), api - set(OPTIONS)
        typed = {f"--{field.name.replace('_', '-')}" for field in fields(PrepareArguments)}
        assert set(OPTIONS.values()) <= typed

    def test_messages_name_options_in_a_way_that_is_translated(self) -> None:
        for folder in ("preparation", "shapes"):
            for path in (ROOT / "service" / "datasets" / folder).rglob("*.py"):
                for text in messages_in(path):
                    rest = re.sub(r"[Tt]he option `\w+`", "", text)
                    assert not ONLY_IN_THE_API.search(rest), f"{path}: {text!r}"

    @pytest.mark.parametrize(
        ("message", "said"),
        [
            ("Give the option `prompt_template`.", "Give `--template`."),
            ("With the option `header` false it is one.", "With `--no-header` it is one."),
            ("Set the option `header` to true.", "Set `--header`."),
            (
                "Not read: /test (1 row). Name one in the option `sheet`.",
                "Not read: /test (1 row). Name one in `--sheet`.",
            ),
            ("Set the option `target_format` to completion.", "Set `--format completion`."),
            ("The column is called `header`.", "The column is called `header`."),
        ],
    )
    def test_options_are_translated(self, message: str, said: str) -> None:
        assert in_options(message) == said

    def test_a_path_is_quoted(self) -> None:
        assert prepare_command(Path("-my file's.csv")) == "tunegate prepare './-my file'\"'\"'s.csv'"

    def test_only_fixes_beyond_the_safe_ones_are_added(self) -> None:
        assert fix_argument(["drop_duplicates", "mask_secrets"]) == "safe,+mask_secrets"

    def test_a_repeated_command_keeps_the_arguments(self) -> None:
        arguments = PrepareArguments(
            columns="answer=a b", header=False, validation="10%", seed=3, fix="none", force=True, as_json=True
        )
        command = command_with_fixes(Path("x.csv"), arguments, "It has a gap; the fix drop_unreadable removes it.")
        assert command is not None
        parsed = app.parse_args(shlex.split(command)[1:], exit_on_error=False)[1].arguments
        assert parsed["arguments"] == replace(arguments, fix="drop_unreadable")
        assert parsed["file"] == Path("x.csv")

    def test_a_fix_that_was_chosen_is_not_proposed(self) -> None:
        assert command_with_fixes(Path("x"), PrepareArguments(), "The fix json_to_jsonl does that.") is None


def messages_in(path: Path) -> list[str]:
    """The literal texts of a module with a space in them, apart from docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in alone]
    return [node.value for node in constants if isinstance(node.value, str) and " " in node.value]


@pytest.mark.parametrize("command", ["check", "prepare"])
def test_a_file_without_readable_rows_is_not_to_be_emptied(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "data.jsonl"
    file.write_bytes(b'{"messages": [],}\n' * 2)
    run(command, str(file))
    said = "".join(capsys.readouterr())
    assert "Remove the comma" in said
    assert "tunegate prepare" not in said


def test_all_rows_are_unreadable_and_to_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "data.jsonl"
    file.write_bytes(b'{"messages": [],}\n' * 2)
    assert run("prepare", str(file), "--fix", "safe,drop_unreadable") == 2
    assert "No row of the file can be read: drop_unreadable would drop all 2." in capsys.readouterr().err


def test_a_report_names_the_command_lines_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "splits.json"
    file.write_text('{"train": [{"messages": []}], "validation": [{"messages": []}]}')
    run("check", str(file))
    assert "Choose one with `--sheet`." in " ".join(capsys.readouterr().out.split())
