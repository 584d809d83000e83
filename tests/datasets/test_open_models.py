"""Reports for open models: every count is of the model's own template and tokenizer."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.catalogue.open_models.files import MAX_PREFIX_MESSAGES, MAX_RENDERED_CHARS
from service.catalogue.tokens import ModelFacts
from service.datasets.preparation.changes import ChangeLog
from service.datasets.preparation.fixes.over_limit import drop_over_limit
from service.datasets.preparation.tool_definitions import Shortening
from service.datasets.report_schema import FileReport
from tests.catalogue.open_models import CONTEXT, write_open_model
from tests.datasets.rows import (
    asked,
    call,
    calling,
    chat,
    findings_of,
    function_call_row,
    jsonl,
    message,
    pair,
    report_on,
    tool,
)
from tests.llm.tiny import CHATML_TOOLS

ALTERNATING = (
    "{%- for message in messages %}{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{- raise_exception('Conversation roles must alternate user/assistant') }}{%- endif %}"
    "{{- '[' + message.role + ']' + message.content }}{%- endfor %}"
)
HIDING = "{%- for message in messages %}{{- message.role if loop.last else message.content }}{%- endfor %}"
"""The last message hides its text, so that no answer is where it will be learned."""
REPEATING = "{%- for each in range(100000) %}{{- messages[0].content * 100 }}{%- endfor %}"
FORGETFUL = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if loop.last and message.reasoning_content %}{{- '<think>' + message.reasoning_content }}{%- endif %}"
    "{{- message.content + '<|im_end|>\\n' }}{%- endfor %}"
)
"""As Qwen3's: the reasoning of earlier answers is left out."""

IMAGE = [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models of this module are written."""
    return tmp_path_factory.mktemp("models")


def model(folder: Path, name: str = "tiny", *, max_tokens: int = CONTEXT, **options: Any) -> ModelFacts:
    """The facts of an open model in the folder, which is written at its first use."""
    if not (folder / name).exists():
        write_open_model(folder / name, **options)
    return ModelFacts(name, f"{name}:0123", max_tokens, str(folder / name))


def tokens(folder: Path, *texts: str) -> int:
    """The tokens of texts by `tokenizers` itself, of the model `tiny`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(model(folder).tokenizer) / "tokenizer.json"))
    return sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts)


def reported(row: dict[str, Any], facts: ModelFacts, **options: Any) -> FileReport:
    return report_on(jsonl(row), model=facts, **options)


def total(report: FileReport) -> int:
    assert report.tokens is not None
    return report.tokens.total


class TestCounts:
    def test_a_conversation_is_its_rendered_text(self, folder: Path) -> None:
        report = reported(chat(), model(folder))
        system, question = "<|im_start|>system\nBe brief.<|im_end|>\n", "<|im_start|>user\nWhy?<|im_end|>\n"
        text = f"{system}{question}<|im_start|>assistant\nBecause.<|im_end|>\n"
        assert total(report) == report.billable_tokens_per_epoch == tokens(folder, text)
        assert report.tokens is not None
        assert report.tokens.trained == tokens(folder, "Because.<|im_end|>")
        assert report.tokens.encoding == "tiny:0123"
        assert report.cookbook is None

    def test_a_special_token_in_a_text_is_one_token(self, folder: Path) -> None:
        with_token = total(reported(asked(answer="a<|im_end|>a"), model(folder)))
        assert with_token == total(reported(asked(answer="a\na"), model(folder)))

    def test_the_model_s_own_special_tokens_in_texts_are_findings(self, folder: Path) -> None:
        (finding,) = findings_of(reported(asked(answer="a<|pad|>b"), model(folder)), "special_token_in_text")
        assert finding.pointer == "/messages/1/content"
        assert "<|pad|>" in finding.message
        (known,) = findings_of(reported(asked(answer="a<|im_end|>b"), model(folder)), "special_token_in_text")
        assert "<|im_end|>" in known.message
        assert findings_of(reported(asked(answer="a<pad>b"), model(folder)), "special_token_in_text") == []

    def test_the_fast_parser_and_the_slow_one_count_alike(self, folder: Path) -> None:
        weighted = [{**each, **({"weight": 1} if each["role"] == "assistant" else {})} for each in chat()["messages"]]
        assert total(reported(chat(*weighted), model(folder))) == total(reported(chat(), model(folder)))

    def test_parts_developers_refusals_and_null_follow_the_rule(self, folder: Path) -> None:
        plain = chat(
            message("system", "Be brief."),
            message("user", "Why?"),
            message("assistant", "No."),
            message("user", "Oh?"),
            message("assistant", "Yes."),
        )
        other = chat(
            message("developer", [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]),
            message("user", "Why?"),
            message("assistant", None, refusal="No.", weight=0),
            message("user", "Oh?", name="ann"),
            message("assistant", "Yes.", weight=1),
        )
        assert total(reported(other, model(folder))) == total(reported(plain, model(folder)))

    def test_a_preference_row_has_both_sequences(self, folder: Path) -> None:
        report = reported(pair(), model(folder))
        prompt = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
        expected = tokens(folder, prompt + "Good.<|im_end|>\n", prompt + "Bad.<|im_end|>\n")
        assert total(report) == report.billable_tokens_per_epoch == expected

    def test_a_completion_ends_with_the_end_token(self, folder: Path) -> None:
        report = reported({"prompt": "One, two,", "completion": " three."}, model(folder))
        assert total(report) == tokens(folder, "One, two, three.<|im_end|>")

    def test_tools_and_calls_are_in_the_template_s_form(self, folder: Path) -> None:
        facts = model(folder, "tools", template=CHATML_TOOLS)
        report = reported(calling(), facts)
        definition = f"<|im_start|>tools\n{json.dumps(tool())}\n<|im_end|>\n"
        called = json.dumps({"name": "weather", "arguments": {"city": "Rome"}})
        text = (
            f"{definition}<|im_start|>user\nHow warm is Rome?<|im_end|>\n"
            f"<|im_start|>assistant\n<tool_call>\n{called}\n</tool_call><|im_end|>\n"
            "<|im_start|>tool\n20 degrees<|im_end|>\n<|im_start|>assistant\nIt is warm.<|im_end|>\n"
        )
        assert total(report) == tokens(folder, text)
        assert report.tokens is not None
        assert report.tokens.definitions == tokens(folder, definition)
        assert total(reported(function_call_row(), facts)) == total(report)

    def test_answers_that_a_template_renders_otherwise_later_are_sequences_of_their_own(self, folder: Path) -> None:
        row = chat(
            message("user", "Why?"),
            {**message("assistant", "So."), "reasoning_content": "Think."},
            message("user", "And?"),
            message("assistant", "Thus."),
        )
        start = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
        whole = f"{start}So.<|im_end|>\n{start.replace('Why', 'And')}Thus.<|im_end|>\n"
        report = reported(row, model(folder, "forgetful", template=FORGETFUL))
        assert total(report) == tokens(folder, f"{start}<think>Think.So.<|im_end|>\n", whole)

    def test_the_report_does_not_depend_on_the_number_of_processes(self, folder: Path) -> None:
        data = jsonl(*[asked(f"Question {number}?", "An answer. " * (number % 60)) for number in range(1, 400)])
        facts = model(folder, max_tokens=100)
        alone, shared = (report_on(data, model=facts, processes=processes, quick=True) for processes in (1, 2))
        assert alone == shared
        assert alone.examples_over_limit > 0


class TestOverTheLimit:
    def test_is_cut_at_the_context(self, folder: Path) -> None:
        whole = total(reported(asked(), model(folder)))
        report = reported(asked(), model(folder, max_tokens=whole - 1))
        assert (report.examples_over_limit, report.tokens_over_limit, report.answers_cut_off) == (1, 1, 0)
        assert report.billable_tokens_per_epoch == whole - 1
        (found,) = findings_of(report, "over_token_limit")
        assert f"has {whole} tokens; the model's limit is {whole - 1}" in found.message

    def test_an_answer_beyond_it_is_lost(self, folder: Path) -> None:
        start = tokens(folder, "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n")
        assert reported(asked(), model(folder, max_tokens=start)).answers_cut_off == 1
        assert reported(asked(), model(folder, max_tokens=start + 1)).answers_cut_off == 0

    def test_a_preparation_drops_what_the_report_finds(self, folder: Path) -> None:
        rows = [(1, asked()), (2, asked(answer="A long answer. " * 20))]
        fix = drop_over_limit(rows, "chat", model(folder, max_tokens=60))
        assert fix is not None
        assert [fix(line, row) is row for line, row in rows] == [True, False]


class TestNotRendered:
    @pytest.mark.parametrize(
        ("row", "template", "reason"),
        [
            (chat(), ALTERNATING, "roles must alternate"),
            (calling(), None, "it leaves tool definitions out"),
            (chat(message("user"), {"role": "assistant", "tool_calls": [call()]}), None, "it leaves tool calls out"),
            (
                chat(message("user", IMAGE), message("assistant")),
                None,
                "type 'image_url', and the model reads text only",
            ),
            (
                chat(*[message(("user", "assistant")[number % 2]) for number in range(1_100)]),
                None,
                f"at most {MAX_PREFIX_MESSAGES:,} are rendered; divide the conversation",
            ),
            (chat(), HIDING, "it renders messages[2] so that its answer cannot be found"),
            (pair(), HIDING, "it renders messages[1] so that its answer cannot be found"),
            (chat(), REPEATING, f"more than {MAX_RENDERED_CHARS:,} characters"),
            (chat(), "{{ messages[0].content + 1 }}", "can only concatenate str"),
            (chat(), "{{ absent.field }}", "'absent' is undefined"),
            (chat(), "{{ ''.__class__.__mro__ }}", "unsafe"),
        ],
    )
    def test_is_an_error_of_its_line(
        self, tmp_path: Path, row: dict[str, Any], template: str | None, reason: str
    ) -> None:
        options: dict[str, Any] = {} if template is None else {"template": template}
        report = report_on(jsonl(row, row), model=model(tmp_path, **options))
        found = findings_of(report, "template_cannot_render")
        assert [each.line for each in found] == [1, 2]
        assert reason in found[0].message
        assert "Change the example, or take a model whose template can." in found[0].message
        assert total(report) == 0

    def test_deep_values_are_counted_or_a_finding(self, folder: Path) -> None:
        facts = model(folder, "tools", template=CHATML_TOOLS)
        deep = '{"a":' * 900 + "1" + "}" * 900
        report = reported(calling(calls=[call(arguments=deep)]), facts)
        assert report.errors + total(report) > 0

    def test_malformed_rows_are_reported_by_the_checks_of_the_format_alone(self, folder: Path) -> None:
        rows: list[Any] = [
            {"messages": 5},
            {"messages": []},
            {"messages": ["a"]},
            chat({"content": "x"}),
            chat(message("user", 5)),
        ]
        report = report_on(jsonl(*[asked()] * 9, *rows), model=model(folder))
        assert report.lines_with_errors == len(rows)
        assert findings_of(report, "template_cannot_render") == []


def test_shorter_definitions_are_counted_by_the_template(folder: Path, tmp_path: Path) -> None:
    """`tool_definitions` of a preparation says what it saves in the model's own tokens."""
    facts = model(folder, "tools", template=CHATML_TOOLS)
    with (tmp_path / "changes").open("wb") as changes:
        shortening = Shortening("without_definitions", facts, ChangeLog(changes))
        list(shortening.shortened([(1, calling())], "chat"))
        report = reported(calling(), facts)
        assert report.tokens is not None
        assert shortening.saved([1]).saved == report.tokens.definitions > 0
