"""What a training file and a validation file share."""

from __future__ import annotations

from random import Random

import pytest

from service.datasets.duplicates.sketches import SKETCH_BYTES, is_near
from service.datasets.leakage.find import find_leakage
from service.datasets.report_schema import Leakage
from tests.datasets.rows import asked, chat, completion, findings_of, jsonl, report_on

LONG = "The quick brown fox jumps over the lazy dog and goes home to sleep until the next morning comes along"
CHINESE = "这个产品的退货政策是收到货物之后七天之内可以无条件退货,运费由我们承担,请联系客服办理相关手续"


def leakage_of(training: list[bytes], validation: list[bytes], *, listed_per_code: int = 100) -> Leakage:
    return find_leakage(training, validation, validation_file="valid.jsonl", listed_per_code=listed_per_code)


class TestLeakage:
    def test_same_examples_and_prompts(self) -> None:
        training = jsonl(asked("A?", "a"), asked("B?", "b"), "not json", asked("C?", "c"))
        validation = jsonl("", asked("B?", "b"), asked("C?", "other"), asked("D?", "d"))
        found = leakage_of([training], [validation])
        assert (found.training_examples, found.validation_examples) == (3, 3)
        assert (found.exact, found.same_prompt) == (1, 1)
        assert [(finding.code, finding.line) for finding in found.findings] == [
            ("leakage_exact", 2),
            ("leakage_prompt", 3),
        ]
        assert "Line 2 of the training file" in found.findings[0].message
        assert "Line 4 of the training file" in found.findings[1].message

    def test_nothing_shared(self) -> None:
        found = leakage_of([jsonl(asked("A?"))], [jsonl(chat())])
        assert (found.exact, found.same_prompt, found.near, found.findings) == (0, 0, 0, [])

    def test_empty_and_broken_files(self) -> None:
        assert leakage_of([], []).findings == []
        assert leakage_of([b"\xff\xfe{[", b"\n\x00"], [b"[1]\n"]).findings == []

    def test_other_formats(self) -> None:
        found = leakage_of([jsonl(completion())], [jsonl(completion())])
        assert found.exact == 1

    def test_findings_are_capped_and_counts_exact(self) -> None:
        rows = jsonl(*[asked(f"{index}?") for index in range(150)])
        found = leakage_of([rows], [rows], listed_per_code=100)
        assert (found.exact, len(found.findings)) == (150, 100)

    def test_near(self) -> None:
        found = leakage_of([jsonl(asked(LONG))], [jsonl(asked("Other"), asked(LONG.replace("lazy", "sleepy")))])
        assert [(finding.code, finding.line) for finding in found.findings] == [("leakage_near", 2)]


class TestNearDuplicates:
    @pytest.mark.parametrize(("text", "near"), [(LONG, LONG + " again"), (CHINESE, CHINESE.replace("七天", "八天"))])
    def test_found(self, text: str, near: str) -> None:
        report = report_on(jsonl(asked("Something else"), asked(text), asked(near)))
        assert [finding.line for finding in findings_of(report, "near_duplicate")] == [3]
        assert "line 2" in findings_of(report, "near_duplicate")[0].message

    def test_silent(self) -> None:
        rows = [asked(f"Question number {index} about the thing", f"It is {index * 7}.") for index in range(40)]
        report = report_on(jsonl(*rows, rows[0]))
        assert "near_duplicate" not in report.counts
        assert report.counts["duplicate_example"] == 1


def test_bands_lose_no_near_pair_that_bits_would_keep() -> None:
    """`is_near` first counts differing bits; that must never refuse what the numbers themselves call near."""
    random = Random(1)
    for alike in range(SKETCH_BYTES // 4 + 1):
        one = random.randbytes(SKETCH_BYTES)
        other = one[: alike * 4] + bytes(255 - byte for byte in one[alike * 4 :])
        assert is_near(one, other) == (alike >= 41)
