"""`tunegate prepare FILE`: what it makes, shows and refuses."""

import json
from pathlib import Path

import pytest

from tests.cli.test_main import tunegate

CSV = b"question,answer\n" + b"".join(b"What is %d?,It is %d.\n" % (number, number) for number in range(20))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table with a duplicate and an empty answer."""
    path = tmp_path / "facts.csv"
    path.write_bytes(CSV + b"What is 3?,It is 3.\nWhat now?,\n")
    return path


def test_makes_files_and_shows_what_it_did(table: Path, tmp_path: Path) -> None:
    before = table.read_bytes()
    done = tunegate("prepare", str(table), "--validation", "25%", "--seed", "5", "--system-prompt", "Be brief.")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    for words in (
        "read as: delimiter , (certain), with a header (certain)",
        "column `question`", "guessed", "drop_duplicates", "row 22", "The same as line 5.",
        "Column `answer` is empty.", "facts_prepared_train.jsonl", "15 examples", "facts_prepared_valid.jsonl",
    ):  # fmt: skip
        assert words in done.stdout
    training = (tmp_path / "facts_prepared_train.jsonl").read_text().splitlines()
    assert json.loads(training[0])["messages"][0] == {"role": "system", "content": "Be brief."}
    assert len(training) + len((tmp_path / "facts_prepared_valid.jsonl").read_text().splitlines()) == 20
    assert table.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "facts.csv",
        "facts_prepared_changes.jsonl",
        "facts_prepared_train.jsonl",
        "facts_prepared_valid.jsonl",
    ]


def test_json_is_nothing_but_the_result(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = tunegate("prepare", str(table), "--out", str(out), "--columns", "prompt=answer,answer=question", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["training_file"] == str(out / "facts_prepared.jsonl")
    assert (result["validation_file"], result["rows_out"]) == (None, 20)
    assert result["options"]["guessed_columns"] == []
    assert result["reports"][result["training_file"]]["errors"] == 0


def test_overwrites_nothing_without_the_option(table: Path, tmp_path: Path) -> None:
    assert tunegate("prepare", str(table)).returncode == 0
    made = tmp_path / "facts_prepared.jsonl"
    first = made.read_bytes()
    again = tunegate("prepare", str(table), "--system-prompt", "Other.")
    assert (again.returncode, again.stdout, made.read_bytes()) == (2, "", first)
    assert "--force" in again.stderr
    assert tunegate("prepare", str(table), "--system-prompt", "Other.", "--force").returncode == 0
    assert made.read_bytes() != first


def test_a_refusal_leaves_what_was_there(table: Path, tmp_path: Path) -> None:
    made = tmp_path / "facts_prepared.jsonl"
    made.write_text("mine")
    done = tunegate("prepare", str(table), "--fix", "none", "--force")
    assert (done.returncode, done.stdout) == (2, "")
    assert "row 23: column `answer` is empty; the fix drop_empty_messages" in done.stderr
    assert made.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


def test_completions_for_a_model_that_takes_nothing_else(table: Path, tmp_path: Path) -> None:
    table.write_text("question,answer\n" + "".join(f"{one} or what,so {one}\n{one},no {one}x\n" for one in "abcd"))
    done = tunegate("prepare", str(table), "--model", "babbage-002")
    assert done.returncode == 0, done.stderr
    assert "`stop`" in done.stdout
    first = json.loads((tmp_path / "facts_prepared.jsonl").read_text().splitlines()[0])
    assert set(first) == {"prompt", "completion"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--validation", "half"], "--validation"),
        (["--validation", "0"], "at least 1"),
        (["--validation", "100%"], "between 0 and 1"),
        (["--columns", "question"], "--columns takes pairs"),
        (["--columns", "prompt=nowhere"], "`nowhere`"),
        (["--fix", "strip_boom"], "strip_boom"),
        (["--template", "{nowhere}"], "{nowhere}"),
        (["--model", "gpt-0"], "gpt-0"),
    ],
)
def test_what_makes_no_sense_is_status_2(table: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    done = tunegate("prepare", str(table), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["facts.csv"]


def test_a_missing_file_is_status_2(tmp_path: Path) -> None:
    done = tunegate("prepare", str(tmp_path / "missing.csv"))
    assert done.returncode == 2
    assert "missing.csv" in done.stderr


def test_ends_by_naming_what_is_still_wrong(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "Why?"}, {"role": "narrator", "content": "So."}]}\n')
    done = tunegate("prepare", str(path))
    assert done.returncode == 1
    _, _, left = done.stdout.partition("Findings left in chat_prepared.jsonl")
    for words in ("role_unknown  line 1: The role must be one of", "assistant_missing", "too_few_examples"):
        assert words in left
    result = json.loads(tunegate("prepare", str(path), "--force", "--json").stdout)
    codes = [each["code"] for each in result["reports"][result["training_file"]]["findings_left"]]
    assert set(codes[:2]) == {"role_unknown", "assistant_missing"}


def test_says_by_reason_how_many_rows_were_left_out(table: Path) -> None:
    done = tunegate("prepare", str(table))
    assert "Left out: 1x Column `answer` is empty; 1x The same as line …" in " ".join(done.stdout.split())
