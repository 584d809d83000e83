"""What the rows of the examples promise beyond their format: numbers, fields and code are those of the text. Pure."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.datasets.processes.leakage import leakage_of_paths
from tests.stack import ROOT

EXAMPLES = ROOT / "examples"
FILES = ("train", "valid")
LABELS = {
    "issue (blocking)",
    "suggestion (non-blocking)",
    "question (non-blocking)",
    "nitpick (non-blocking)",
    "praise",
}


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (EXAMPLES / name).read_text(encoding="utf-8").splitlines()]


def conversations(folder: str) -> Iterator[tuple[str, str]]:
    """Question and answer of each row of both files; the system message is the same everywhere."""
    systems = set()
    for file in FILES:
        for row in rows(f"{folder}/{file}.jsonl"):
            system, question, answer = (message["content"] for message in row["messages"])
            systems.add(system)
            yield question, answer
    assert len(systems) == 1


def numbers(text: str) -> Counter[str]:
    return Counter(re.findall(r"\d+(?:[.,]\d+)*", text))


class TestSummaries:
    def test_every_number_is_in_the_text(self) -> None:
        for text, summary in conversations("financial-summaries"):
            assert set(numbers(summary)) <= set(numbers(text)), summary
            assert numbers(summary), summary

    def test_they_are_one_or_two_sentences_and_shorter_than_the_text(self) -> None:
        for text, summary in conversations("financial-summaries"):
            assert len(re.findall(r"[.](?= [A-Z]|$)", summary)) <= 2, summary
            assert len(summary) < 0.65 * len(text), summary


class TestReviews:
    def test_every_answer_is_a_conventional_comment(self) -> None:
        used = Counter(answer.partition(":")[0] for _, answer in conversations("code-review"))
        assert set(used) == LABELS
        assert min(used.values()) >= 4

    def test_every_question_is_a_diff_that_changes_something(self) -> None:
        for diff, _ in conversations("code-review"):
            old, new, *hunk = diff.splitlines()
            assert (old[:6], new[:6], old[6:]) == ("--- a/", "+++ b/", new[6:])
            assert [line for line in hunk if line.startswith("+")] or [line for line in hunk if line.startswith("-")]
            assert all(line[:1] in ("@", "+", "-", " ") for line in hunk if line), diff


class TestClauses:
    FIELDS = ("clause", "party", "period", "amount", "law")

    def test_an_answer_has_all_fields_and_a_kind_that_the_system_message_names(self) -> None:
        system = rows("contract-clauses/train.jsonl")[0]["messages"][0]["content"]
        kinds: Counter[str] = Counter()
        for _, answer in conversations("contract-clauses"):
            fields = json.loads(answer)
            assert tuple(fields) == self.FIELDS
            kinds[fields["clause"]] += 1
        assert len(kinds) == 10
        assert all(re.search(rf"\b{kind}\b", system) for kind in kinds)
        assert min(kinds.values()) >= 6

    def test_parties_amounts_and_laws_are_in_the_clause(self) -> None:
        adjectives = {"Switzerland": "Swiss", "England": "English", "Austria": "Austrian"}
        for clause, answer in conversations("contract-clauses"):
            fields = json.loads(answer)
            if fields["party"] not in (None, "both"):
                assert fields["party"] in clause
            if fields["law"] is not None:
                assert adjectives.get(fields["law"], fields["law"]) in clause
            for name in ("period", "amount"):
                for word in (fields[name] or "").split():
                    assert word in clause or COUNTS[word] in clause, (fields[name], clause)


COUNTS = {
    "1": "a",
    "2": "two",
    "3": "three",
    "4": "four",
    "5": "five",
    "6": "six",
    "7": "seven",
    "8": "eight",
    "10": "ten",
    "12": "twelve",
    "20": "twenty",
    "60": "sixty",
}
"""The counts that an answer has in digits, and a clause may have in words."""


class TestTranslations:
    @pytest.mark.parametrize("file", FILES)
    def test_both_forms_say_the_same(self, file: str) -> None:
        chat = [
            (row["messages"][1]["content"], row["messages"][2]["content"])
            for row in rows(f"technical-translation/{file}.jsonl")
        ]
        completions = [
            (row["prompt"], row["completion"]) for row in rows(f"technical-translation/{file}-completion.jsonl")
        ]
        assert completions == [(f"{english}\n\n###\n\n", f" {german}\n") for english, german in chat]

    def test_code_and_placeholders_stay_as_they_are(self) -> None:
        for english, german in conversations("technical-translation"):
            for pattern in (r"`[^`]+`", r"\{\w+\}"):
                assert sorted(re.findall(pattern, english)) == sorted(re.findall(pattern, german)), german


def test_the_headline_that_the_learning_loop_asks_about_is_in_no_file(tmp_path: Path) -> None:
    """Nor one nearly like it: the validation file here is that headline alone."""
    code = (EXAMPLES / "learning_loop.py").read_text(encoding="utf-8")
    [headline] = re.findall(r'^HEADLINE = "(.+)"$', code, re.MULTILINE)
    folder = EXAMPLES / "sports-headlines"
    asked = json.loads((folder / "valid.jsonl").read_text(encoding="utf-8").splitlines()[0])
    asked["messages"][1]["content"] = headline
    (tmp_path / "asked.jsonl").write_text(json.dumps(asked), encoding="utf-8")
    for file in FILES:
        assert leakage_of_paths(folder / f"{file}.jsonl", tmp_path / "asked.jsonl").shared == 0
