"""The report as a whole: figures, findings, caps, bounds, and what a caller relies on."""

from __future__ import annotations

import datetime
import json
import tracemalloc

import msgspec
import pytest

from service.billing.prices import Amount
from service.catalogue.tokens import ModelFacts, ModelPrice, reference_counter
from service.datasets.report.build import build_report
from service.datasets.report_schema import FileReport, first_errors, pending_report
from tests.datasets.rows import (
    MODEL,
    OLD_MODEL,
    asked,
    calling,
    chat,
    completion,
    findings_of,
    graded,
    jsonl,
    message,
    pair,
    report_on,
    with_image,
)

CONTRACT_FIELDS = {
    *("object", "file_id", "status", "progress", "format", "bytes", "examples", "tokens", "default_epochs"),
    *("billable_tokens", "cookbook", "prices", "errors", "warnings", "counts", "findings"),
}


def cookbook_toy() -> bytes:
    """Five chats of our own with as many tokens each as those of the cookbook's toy file (cl100k_base).

    The cookbook prints for such a file: 26 to 8,032 tokens an example, mean 1648.4, median 45, 4,306 charged tokens,
    20 epochs, 86,120 tokens in all.
    """
    rows = []
    for tokens in (26, 32, 45, 107, 8_032):
        words = tokens - (3 + 2 * (3 + 1) + 1)
        rows.append(asked("hello", " yes" * words))
    return jsonl(*rows)


class TestCookbook:
    def test_the_printed_figures(self) -> None:
        report = report_on(cookbook_toy(), model=OLD_MODEL)
        cookbook = report.cookbook
        assert cookbook is not None
        assert (cookbook.tokens, cookbook.n_epochs, cookbook.billed_tokens) == (4_306, 20, 86_120)
        assert (cookbook.per_example.min, cookbook.per_example.max) == (26, 8_032)
        assert (cookbook.per_example.mean, cookbook.per_example.median) == (1648.4, 45.0)
        assert cookbook.uncountable_examples == 0

    def test_ours_is_the_same_for_plain_chat(self) -> None:
        report = report_on(cookbook_toy(), model=OLD_MODEL)
        assert report.cookbook is not None
        assert (report.billable_tokens_per_epoch, report.billable_tokens) == (4_306, 86_120)
        assert (report.tokens_over_limit, report.examples_over_limit, report.answers_cut_off) == (3_936, 1, 0)

    def test_ours_counts_what_the_script_stops_at(self) -> None:
        report = report_on(
            jsonl(calling(), chat(message("user", [{"type": "text", "text": "Hi"}]), message("assistant")))
        )
        assert report.tokens is not None
        assert report.cookbook is not None
        assert report.cookbook.uncountable_examples == 2
        assert report.tokens.total > report.cookbook.tokens
        assert report.tokens.definitions > 0

    def test_none_for_formats_that_it_does_not_know(self) -> None:
        assert report_on(jsonl(completion())).cookbook is None
        assert report_on(jsonl(pair())).cookbook is None


class TestTokens:
    def test_a_chat_by_hand(self) -> None:
        count = reference_counter(MODEL.encoding).count
        row = chat(
            message("system", "Be brief."), message("user", "Why?", name="ann"), message("assistant", "Because.")
        )
        report = report_on(jsonl(row))
        assert report.tokens is not None
        texts = ("system", "Be brief.", "user", "Why?", "ann", "assistant", "Because.")
        assert report.tokens.total == 3 * 3 + 1 + 3 + sum(map(count, texts))
        assert report.tokens.trained == count("Because.")

    def test_weight_zero_is_not_trained(self) -> None:
        row = chat(
            message("user"), message("assistant", "No no no.", weight=0), message("user"), message("assistant", "Yes.")
        )
        report = report_on(jsonl(row))
        assert report.tokens is not None
        assert report.tokens.trained == reference_counter(MODEL.encoding).count("Yes.")

    def test_calls_are_trained(self) -> None:
        count = reference_counter(MODEL.encoding).count
        report = report_on(jsonl(calling(after=[])))
        assert report.tokens is not None
        assert report.tokens.trained == count("weather") + count('{"city": "Rome"}')

    def test_a_repeated_system_prompt_counts_every_time(self) -> None:
        one, many = report_on(jsonl(chat())), report_on(jsonl(*[chat()] * 600))
        assert one.tokens is not None
        assert many.tokens is not None
        assert many.tokens.total == 600 * one.tokens.total

    def test_images_are_estimated_and_said(self) -> None:
        low = report_on(jsonl(with_image("https://a.b/c.png", detail="low")))
        high = report_on(jsonl(with_image("https://a.b/c.png")))
        assert low.tokens is not None
        assert high.tokens is not None
        assert high.tokens.total - low.tokens.total == 765 - 85
        assert any("image" in note for note in low.notes)

    def test_histogram_holds_every_example(self) -> None:
        report = report_on(jsonl(*[asked("Why?", "word " * index) for index in range(1, 80)]))
        assert report.tokens is not None
        assert sum(bucket.count for bucket in report.tokens.histogram) == report.examples == 79
        assert len(report.tokens.histogram) <= 12
        encoded = json.loads(msgspec.json.encode(report))["tokens"]["histogram"][0]
        assert set(encoded) == {"from", "to", "count"}


class TestFormats:
    @pytest.mark.parametrize(
        ("row", "name"),
        [
            (chat(), "chat"),
            (calling(), "chat"),
            (completion(), "completion"),
            (pair(), "preference"),
            (graded(), "reinforcement"),
        ],
    )
    def test_each_is_recognised_without_an_error(self, row: dict[str, object], name: str) -> None:
        report = report_on(jsonl(*[row] * 3))
        assert report.format == name
        assert report.errors == 0

    def test_one_odd_row_does_not_decide(self) -> None:
        report = report_on(jsonl(completion(), *[chat()] * 3))
        assert report.format == "chat"
        assert [finding.line for finding in findings_of(report, "mixed_formats")] == [1]

    def test_fields_of_reinforcement_rows_are_counted(self) -> None:
        report = report_on(jsonl(graded(topic="sums"), graded()))
        assert report.item_fields == {"messages": 2, "reference_answer": 2, "topic": 1}


class TestFindings:
    def test_every_fault_of_a_file_in_one_pass(self) -> None:
        data = jsonl(
            asked(),
            "not json",
            {"messages": [message("robot"), message("assistant", "")]},
            "",
            {"messages": [message("user")]},
            b'{"messages": "\xff"}',
        )
        report = report_on(data)
        by_line = {(finding.line, finding.code) for finding in report.findings if finding.severity == "error"}
        assert by_line == {
            (2, "invalid_json"),
            (3, "role_unknown"),
            (3, "content_empty"),
            (5, "assistant_missing"),
            (6, "not_utf8"),
        }
        assert (report.errors, report.lines_with_errors, report.examples) == (5, 4, 3)

    def test_counts_are_exact_and_the_list_is_capped(self) -> None:
        report = report_on(jsonl(*["{"] * 350), listed_per_code=100)
        assert report.counts["invalid_json"] == report.errors == 350
        assert [finding.line for finding in findings_of(report, "invalid_json")] == list(range(1, 101))

    def test_errors_come_first(self) -> None:
        report = report_on(jsonl(asked("Mail me at ann@corp.com"), "{", ""))
        order = ["error", "warning", "info"]
        ranks = [order.index(finding.severity) for finding in report.findings]
        assert ranks == sorted(ranks)

    def test_place_of_a_byte_that_is_not_utf8(self) -> None:
        report = report_on(jsonl(asked()) + b'{"a": "\xff"}\n')
        (finding,) = findings_of(report, "not_utf8")
        offset = len(jsonl(asked())) + 7
        assert "0xff at byte 8 of this line" in finding.message
        assert f"byte {offset} of the file" in finding.message

    def test_first_errors(self) -> None:
        assert first_errors(report_on(jsonl(asked()))) == ""
        text = first_errors(report_on(jsonl(asked(), *["{"] * 12)), limit=2)
        assert text.startswith("line 2: Not JSON")
        assert "; line 3: " in text
        assert text.endswith("(12 errors in all).")

    def test_too_few_examples_is_never_an_error(self) -> None:
        report = report_on(jsonl(asked()))
        assert report.errors == 0
        assert report.counts["too_few_examples"] == 1

    def test_a_table_is_said_once(self) -> None:
        report = report_on(b"prompt,completion\n" + b"a,b\n" * 5_000)
        assert report.counts == {"table_file": 1}
        assert report.findings[0].fix == "table_to_jsonl"
        assert report.bytes == len(b"prompt,completion\n") + 4 * 5_000


class TestContract:
    def test_every_field_is_there_and_it_decodes_back(self) -> None:
        prices = [ModelPrice("gpt-4o-mini", 3_000_000, datetime.date(2027, 1, 14)), ModelPrice("o4-mini", None)]
        report = report_on(jsonl(*[asked(f"Why {index}?") for index in range(30)]), prices=prices)
        encoded = msgspec.json.encode(report)
        assert msgspec.json.decode(encoded, type=FileReport) == report
        value = json.loads(encoded)
        assert set(value) >= CONTRACT_FIELDS
        assert value["object"] == "file.report"
        assert value["prices"][0]["shutdown_date"] == "2027-01-14"
        assert value["prices"][1]["price"] is None

    def test_price_is_tokens_times_epochs(self) -> None:
        report = report_on(jsonl(*[asked("Why?", " yes" * 1_000)] * 40), prices=[ModelPrice("m", 8_000_000)])
        micros = round(report.billable_tokens * 8)
        assert report.prices[0].price == Amount(value=micros / 1_000_000)
        assert report.billable_tokens == report.billable_tokens_per_epoch * 3

    def test_prices_are_of_models_that_train_on_the_format(self) -> None:
        prices = [ModelPrice("chatty", 1), ModelPrice("plain", 1, None, ("completion",))]
        chat = report_on(jsonl(*[asked(f"Why {index}?") for index in range(12)]), prices=prices)
        completion = report_on(
            jsonl(*[{"prompt": f"Why {index}?", "completion": " So."} for index in range(12)]), prices=prices
        )
        assert [line.model for line in chat.prices] == ["chatty"]
        assert [line.model for line in completion.prices] == ["plain"]

    def test_pending(self) -> None:
        report = pending_report(file_id="file-1", model="m", max_tokens=1, bytes_total=10, bytes_done=5)
        assert (report.status, report.progress, report.findings) == ("pending", 0.5, [])
        assert msgspec.json.decode(msgspec.json.encode(report), type=FileReport) == report

    def test_an_unknown_encoding_is_named(self) -> None:
        with pytest.raises(KeyError, match="p50k"):
            report_on(jsonl(asked()), model=ModelFacts("old", "p50k_base", 2_048))


class TestBounds:
    def test_chunks_of_any_size_give_the_same_report(self) -> None:
        data = jsonl(asked("你好 \U0001f600", "Because."), "{", "", chat(), asked("x" * 3_000), b"\xff") * 3
        whole = report_on(data)
        for size in (1, 7, 100, 4_096):
            pieces = [data[start : start + size] for start in range(0, len(data), size)]
            assert build_report(pieces, file_id="file-test", model=MODEL, prices=[]) == whole

    def test_progress_ends_at_all_bytes(self) -> None:
        data = jsonl(asked("Why?", "word " * 200_000)) * 4
        reported: list[int] = []
        report_on(data, progress=reported.append)
        assert reported == sorted(reported)
        assert len(reported) >= len(data) >> 20
        assert reported[-1] == len(data)

    def test_an_endless_line_is_not_held(self) -> None:
        tracemalloc.start()
        chunk = b"[" * (1 << 20)
        report = build_report((chunk for _ in range(100)), file_id="f", model=MODEL, prices=[], max_line_bytes=2 << 20)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert report.counts == {"line_too_long": 1, "too_few_examples": 1}
        assert report.bytes == 100 << 20
        assert peak_bytes < 30 << 20

    def test_secrets_never_stand_in_a_report(self) -> None:
        secret = "sk-" + "Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8"
        card, mail = "4111 1111 1111 1111", "ann.lee@corp.com"
        text = f"keys {secret} and {card} and {mail}"
        row = chat(message("user", text, **{secret: 1}), message("assistant", text), tools=[{"type": secret}])
        encoded = msgspec.json.encode(report_on(jsonl(row, f'{{"a": "{text}" oops', {"x": text}))).decode()
        assert secret not in encoded
        assert card not in encoded
        assert mail not in encoded
