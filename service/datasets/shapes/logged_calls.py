"""Logs of calls, each with what was asked and what was answered: LangSmith, Langfuse, Helicone, stored completions.

The conversation of the request and the answer become one example. Sources of the shapes: LangSmith's and Langfuse's
exports of runs and data sets, Helicone's export (`request_body`, `response_body`), LiteLLM's and OpenAI's logs of chat
completions (`messages` or `request` beside `choices` or `response`).
"""

from __future__ import annotations

from typing import Any

from service.datasets.shapes.building import any_object, example, message, objects, text_part
from service.datasets.shapes.json_texts import parsed
from service.datasets.shapes.langchain import STRUCTURE, is_message, message_of
from service.datasets.shapes.registry import CannotConvert, Row, Shape, register

_ANSWER_KEYS = ("output_text", "output", "answer", "response", "completion", "text", "content", "result", "generation")


def _messages_in(value: Any) -> list[Row] | None:
    """The messages of a request: a list of them, a list of such a list (LangSmith), or one under `messages`."""
    value = parsed(value)
    if isinstance(value, dict):
        return _messages_in(value["messages"]) if "messages" in value else None
    if not isinstance(value, list) or not value:
        return None
    if isinstance(value[0], list):
        return _messages_in(value[0]) if len(value) == 1 else None
    found = [each for each in value if _is_turn(each)]
    return found if len(found) == len(value) else None


def _answer_in(value: Any) -> list[Row] | None:
    """The messages of an answer: an object of a chat completion, a message, generations, or a text."""
    match _structured(value):
        case str(text) if text:
            return [{"role": "assistant", "content": text}]
        case {"choices": [{"message": dict(found)}, *_]} | {"message": dict(found)}:
            return [found]
        case {"choices": [{"text": str(text)}, *_]}:
            return [{"role": "assistant", "content": text}]
        case {"generations": [[dict(first), *_], *_]} | {"generations": [dict(first), *_]}:
            return _answer_in(first if _is_turn(first.get("message")) else first.get("text"))
        case {"body": dict(body)}:
            return _answer_in(body)
        case {"messages": list()} | list():
            return _messages_in(value)
        case dict(found) if is_message(found) or ("role" in found and found.keys() & {"content", "tool_calls"}):
            return [found]
        case dict(found):
            inner = [found[key] for key in _ANSWER_KEYS if found.get(key)]
            return _answer_in(inner[0] if inner else _only_text(found))
    return None


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and ("role" in value or is_message(value))


def _structured(value: Any) -> Any:
    """An answer that was written as JSON text. The answer of a model that is JSON itself stays a text."""
    found = parsed(value)
    if isinstance(found, dict):
        return found if found.keys() & {"choices", "role", "generations", "lc"} else value
    return found if _messages_in(found) is not None else value


def _only_text(values: Row) -> str | None:
    texts = [value for value in values.values() if isinstance(value, str) and value]
    return texts[0] if len(texts) == 1 else None


def _joined(request: Any, answer: Any, tools: Any = None) -> list[Row]:
    prompt, answer_turns = _messages_in(request), _answer_in(answer)
    if prompt is None:
        text = request if isinstance(request, str) else _only_text(request) if isinstance(request, dict) else None
        if not text:
            raise CannotConvert("what was asked is neither messages nor one text")
        prompt = [{"role": "user", "content": text}]
    if not answer_turns:
        raise CannotConvert("it has no answer")
    repeated = len(answer_turns) > len(prompt) and answer_turns[: len(prompt)] == prompt
    whole = answer_turns if repeated else [*prompt, *answer_turns]
    made = [message_of(each) for each in whole]
    system = request.get("system") if isinstance(request, dict) else None
    if isinstance(system, str) and system:
        made.insert(0, {"role": "system", "content": system})
    given = tools if tools is not None else request.get("tools") if isinstance(request, dict) else None
    return example(made, objects(given, "tools") if given else None)


def _has_messages(value: Any) -> bool:
    return _messages_in(value) is not None


def _recognises_langsmith(row: Row) -> bool:
    inputs, outputs = parsed(row.get("inputs")), parsed(row.get("outputs"))
    return isinstance(inputs, dict) and isinstance(outputs, dict) and bool(inputs)


def _convert_langsmith(row: Row) -> list[Row]:
    inputs = parsed(row["inputs"])
    if inputs.get("messages") is None and isinstance(inputs.get("input"), (dict, list)):
        inputs = inputs["input"]
    return _joined(inputs, parsed(row["outputs"]))


def _recognises_langfuse(row: Row) -> bool:
    if "output" not in row and "expectedOutput" not in row:
        return False
    given = row.get("input")
    parts = (part for item in any_object(parsed(given)) for part in any_object(item.get("content")))
    of_responses_api = any(part.get("type") in ("input_text", "output_text") for part in parts)
    return _has_messages(given) and not of_responses_api


def _convert_langfuse(row: Row) -> list[Row]:
    expected = row.get("expectedOutput")
    return _joined(parsed(row["input"]), expected or row.get("output"), row.get("tools"))


def _recognises_helicone(row: Row) -> bool:
    return "request_body" in row and "response_body" in row


def _convert_helicone(row: Row) -> list[Row]:
    return _joined(parsed(row["request_body"]), row["response_body"])


def _is_completion(value: Any) -> bool:
    return isinstance(value, dict) and bool(any_object(value.get("choices")))


def _request(row: Row) -> Any:
    """What was asked, in a row of a stored completion."""
    for key in ("request", "messages", "input", "body"):
        value = row.get(key)
        if isinstance(value, dict) and isinstance(value.get("body"), dict):
            value = value["body"]
        if _has_messages(value):
            return value
    return None


def _answer(row: Row) -> Any:
    return row if _is_completion(row) else row.get("response", row.get("sample"))


def _recognises_completion(row: Row) -> bool:
    answer = _answer(row)
    if isinstance(answer, dict) and isinstance(answer.get("body"), dict):
        answer = answer["body"]
    answered = _is_completion(answer) or (isinstance(answer, dict) and isinstance(answer.get("output_text"), str))
    return answered and _request(row) is not None


def _convert_completion(row: Row) -> list[Row]:
    return _joined(_request(row), _answer(row), row.get("tools"))


def _recognises_evals(row: Row) -> bool:
    return "ideal" in row and _has_messages(row.get("input"))


def _convert_evals(row: Row) -> list[Row]:
    """One example for each ideal answer."""
    ideal = row["ideal"]
    answers = ideal if isinstance(ideal, list) else [ideal]
    if not answers:
        raise CannotConvert("it has no ideal answer")
    return [made for answer in answers for made in _joined(row["input"], answer)]


def _recognises_answers(row: Row) -> bool:
    return row.get("object") in ("chat.completion", "chat.completion.chunk") and _request(row) is None


def _prompt_messages(row: Row) -> bool:
    return _has_messages(row.get("prompt")) and isinstance(row.get("prompt"), list) and "completion" in row


def _convert_prompt(row: Row) -> list[Row]:
    answer = row["completion"]
    if isinstance(answer, str):
        return example([*(message_of(each) for each in row["prompt"]), message("assistant", [text_part(answer)])])
    return _joined(row["prompt"], answer, row.get("tools"))


LANGSMITH = register(
    Shape(
        name="langsmith",
        title="LangSmith",
        keys="`inputs` and `outputs`",
        format="chat",
        recognises=_recognises_langsmith,
        in_tables=_recognises_langsmith,
        convert=_convert_langsmith,
        structure=STRUCTURE,
    )
)

HELICONE = register(
    Shape(
        name="helicone",
        title="Helicone",
        keys="`request_body` and `response_body`",
        format="chat",
        recognises=_recognises_helicone,
        convert=_convert_helicone,
        structure=STRUCTURE,
    )
)

STORED_COMPLETION = register(
    Shape(
        name="stored_completion",
        title="stored chat completions",
        keys="what was asked beside `choices` or `response`",
        format="chat",
        recognises=_recognises_completion,
        convert=_convert_completion,
        structure=STRUCTURE,
    )
)

OPENAI_EVALS = register(
    Shape(
        name="openai_evals",
        title="OpenAI's evals",
        keys="`input` of messages and `ideal`",
        format="chat",
        recognises=_recognises_evals,
        convert=_convert_evals,
        structure=STRUCTURE,
        note="Each of several ideal answers became an example of its own.",
    )
)

LANGFUSE = register(
    Shape(
        name="langfuse",
        title="Langfuse",
        keys="`input` of messages and `output`",
        format="chat",
        recognises=_recognises_langfuse,
        in_tables=_recognises_langfuse,
        convert=_convert_langfuse,
        structure=STRUCTURE,
    )
)

CHAT_COMPLETION = register(
    Shape(
        name="chat_completion",
        title="chat completions",
        keys="`object` is chat.completion",
        format=None,
        recognises=_recognises_answers,
        advice="They are answers without what was asked. Export the messages of the requests too, and write both into "
        'each row: {"messages": […], "response": …}.',
    )
)
