"""What the shapes of providers and exports refuse and drop, and that they recognise nothing that is valid."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.shapes import shape_of
from tests.datasets.cases import CASES
from tests.datasets.preparation.sources import SAFE, make
from tests.datasets.rows import jsonl, report_on
from tests.stack import ROOT

PLAIN = [{"role": "user", "content": "When do you open?"}, {"role": "assistant", "content": "At eight."}]


def blocks(*given: Any, role: str = "assistant") -> dict[str, Any]:
    return {"messages": [PLAIN[0], {"role": role, "content": list(given)}, PLAIN[1]]}


def contents(*parts: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": "When?"}]}, {"role": "model", "parts": list(parts)}]}


def labelled(*annotations: Any, **data: Any) -> dict[str, Any]:
    return {"data": data or {"text": "The lamp"}, "annotations": list(annotations)}


def chosen(*labels: str, **more: Any) -> dict[str, Any]:
    value = {"choices": list(labels)}
    return {"result": [{"from_name": "a", "to_name": "text", "type": "choices", "value": value}], **more}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a thought of Claude": (blocks({"type": "thinking", "thinking": "Hm."}), "a block of type thinking"),
    "a document for Claude": (blocks({"type": "document", "source": {}}, role="user"), "a block of type document"),
    "an image in a result": (
        blocks({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]}, role="user"),
        "the result of a tool contains an image",
    ),
    "an image of Claude's": (
        blocks({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}),
        "a message of the assistant contains an image",
    ),
    "a thought of Gemini": (contents({"text": "Hm.", "thought": True}), "a thought of the model"),
    "code of Gemini": (contents({"executableCode": {"code": "1"}}), "a part with `executableCode`"),
    "a file in Google's storage": (
        contents({"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/a.png"}}),
        "cannot be read from outside",
    ),
    "a sound for Gemini": (contents({"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}), "type audio/wav"),
    "a result without a call": (
        contents({"functionResponse": {"name": "weather", "response": {}}}),
        "which was not called before",
    ),
    "no answer of Gemini": ({"contents": [{"role": "user", "parts": [{"text": "When?"}]}]}, "no answer"),
    "a reasoning of Bedrock": (
        blocks({"reasoningContent": {"reasoningText": {"text": "Hm."}}}),
        "a part with `reasoningContent`",
    ),
    "an image in Amazon's storage": (
        blocks({"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/a.png"}}}}, role="user"),
        "cannot be read from outside",
    ),
    "a role of Cohere's": (
        {"messages": [{"role": "Chatbot", "content": "Hi"}, {"role": "Tool", "content": "x"}]},
        "the role 'Tool'",
    ),
    "a reasoning of OpenAI": (
        {"input": "When?", "output": [{"type": "reasoning", "summary": [{"text": "Hm."}]}, {"type": "message"}]},
        "an item of type reasoning",
    ),
    "a search of OpenAI": (
        {"input": "When?", "output": [{"type": "message", **PLAIN[1]}, {"type": "web_search_call"}]},
        "an item of type web_search_call",
    ),
    "no answer in a log": ({"inputs": {"question": "When?"}, "outputs": {}}, "it has no answer"),
    "an unclear question in a log": ({"inputs": {"a": "x", "b": "y"}, "outputs": {"answer": "z"}}, "neither messages"),
    "divided annotators": (labelled(chosen("a"), chosen("b")), "divided between 'a' and 'b'"),
    "several texts": (labelled(chosen("a"), one="x", other="y"), "no text in it is certainly the question"),
    "places in a text": (
        labelled({"result": [{"type": "labels", "value": {"start": 0, "end": 3, "labels": ["x"]}}]}),
        "annotations of type labels are no answers",
    ),
    "places in a text of Doccano": ({"text": "Lund", "label": [[0, 4, "town"]]}, "places in the text"),
    "spans of Prodigy": ({"text": "Lund", "spans": [{"start": 0}], "answer": "accept"}, "neither a label"),
    "several questions of Argilla": (
        {"fields": {"text": "x"}, "responses": {"a": [{"value": "1"}], "b": [{"value": "2"}]}},
        "several questions (`a`, `b`)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_place_is_refused_with_the_reason(name: str) -> None:
    row, message = REFUSED[name]
    with pytest.raises(PreparationRefused) as refused:
        make(jsonl(row))
    assert refused.value.message.startswith("line 1: ")
    assert message in refused.value.message


@pytest.mark.parametrize("name", REFUSED)
def test_and_dropped_with_the_reason_if_that_is_chosen(name: str) -> None:
    row, message = REFUSED[name]
    good = {"contents": [*contents({"text": "At eight."})["contents"]]}
    made = make(jsonl(*[good] * 2, row), fixes=[*SAFE, "drop_unreadable"], shape="gemini")
    assert made.result.rows_dropped["drop_unreadable"] == 1
    reason = next(change["reason"] for change in made.changes if change["fix"] == "drop_unreadable")
    assert message.casefold() in reason.casefold()


NO_EXAMPLES: dict[str, tuple[dict[str, Any], str]] = {
    "skipped": (labelled({"result": [], "was_cancelled": True}), "Its annotators skipped it."),
    "not annotated": (labelled(), "It has no annotation."),
    "rejected": ({"text": "x", "label": "a", "answer": "reject"}, "Its annotator answered 'reject'."),
    "no option": ({"text": "x", "accept": [], "answer": "accept"}, "accepted none of the options"),
    "no label": ({"text": "x", "label": []}, "It has no label."),
    "discarded": (
        {"fields": {"text": "x"}, "responses": [{"status": "discarded", "values": {}}], "suggestions": []},
        "Its annotators discarded it",
    ),
    "no response": ({"fields": {"text": "x"}, "responses": {}}, "neither a response nor a suggestion"),
}


@pytest.mark.parametrize("name", NO_EXAMPLES)
def test_what_annotators_left_out_is_dropped_with_the_reason(name: str) -> None:
    row, reason = NO_EXAMPLES[name]
    good = labelled(chosen("repair"))
    made = make(jsonl(good, row), shape=None if shape_of(row) is None else "label_studio")
    assert made.result.rows_dropped == {"convert_shape": 1}
    assert reason in next(change["reason"] for change in made.changes if change["action"] == "dropped")
    assert len(made.rows) == 1


def test_the_ground_truth_outvotes_the_other_annotators() -> None:
    made = make(jsonl(labelled(chosen("a"), chosen("a"), chosen("b", ground_truth=True))))
    assert made.pairs == [("The lamp", "b")]


def test_completions_of_human_and_assistant_become_chat_if_the_option_says_so() -> None:
    row = {"prompt": "\n\nHuman: When do you open?\n\nAssistant:", "completion": " At eight."}
    assert shape_of(row) is None
    assert make(jsonl(row)).result.options.target_format == "completion"
    assert make(jsonl(row), shape="human_assistant").pairs == [("When do you open?", "At eight.")]


def test_an_answer_that_is_json_stays_as_it_was_written() -> None:
    row = {"input": [{"role": "user", "content": "As JSON"}], "output": '{"text": "a"}'}
    assert make(jsonl(row)).pairs == [("As JSON", '{"text": "a"}')]


def valid_rows() -> list[tuple[str, dict[str, Any]]]:
    rows = [
        (path.name, json.loads(line))
        for path in sorted((ROOT / "examples").glob("*/*.jsonl"))
        if "broken" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return [(name, row) for name, row in rows if isinstance(row, dict)]


def test_no_valid_row_has_a_shape() -> None:
    rows = valid_rows()
    assert len(rows) > 500
    assert [(name, shape.name) for name, row in rows if (shape := shape_of(row))] == []


@pytest.mark.parametrize("code", [code for code in CASES if code != "other_shape"])
def test_rows_without_errors_have_no_shape(code: str) -> None:
    for case in CASES[code]:
        for line in case.silent.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and report_on(line).errors == 0:
                assert shape_of(row) is None


def test_plain_rows_among_those_of_a_provider_stay_as_they_are() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    answer = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}
    with_tools = {"messages": [PLAIN[0], {"role": "assistant", "content": [call]}, answer, PLAIN[1]]}
    plain = [{"messages": [{"role": "user", "content": f"Question {number}"}, PLAIN[1]]} for number in range(3)]
    made = make(jsonl(*plain, with_tools))
    assert made.rows[:3] == plain
    assert made.rows[3]["messages"][2] == {"role": "tool", "tool_call_id": "t", "content": "x"}
