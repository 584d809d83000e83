"""Chat and legacy completions of language models over HTTP, by the official SDK."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from cli.embedded import free_port
from tests.trainer.server import Server
from trainer.engines.llm.engine import LlmEngine

ASKED: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def engine(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> LlmEngine:
    return LlmEngine(models_dir, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def client(engine: LlmEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    server = Server(tmp_path_factory.mktemp("data"), free_port(), engine)
    server.start()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0, timeout=60) as made:
        yield made
    server.stop()
    engine._serving.close()


def _chat(client: openai.OpenAI, **more: Any) -> Any:
    given: dict[str, Any] = {"model": "tiny-llama", "messages": ASKED, "seed": 7, "max_tokens": 12}
    return client.chat.completions.create(**given | more)


def test_answer_has_openais_shape(client: openai.OpenAI) -> None:
    made = _chat(client)
    assert made.choices[0].finish_reason in ("length", "stop")
    assert made.system_fingerprint == "transformers"
    assert made.usage.completion_tokens == 12
    assert made.usage.total_tokens == made.usage.prompt_tokens + 12
    assert made.choices[0].message.content == _chat(client).choices[0].message.content
    assert made.choices[0].message.content != _chat(client, seed=8).choices[0].message.content


def test_stream_makes_the_whole_answer(client: openai.OpenAI) -> None:
    whole = _chat(client, max_tokens=40, logprobs=True)
    chunks = list(_chat(client, max_tokens=40, logprobs=True, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == whole.choices[0].message.content
    assert [t for c in chunks[:-1] for t in (c.choices[0].logprobs.content if c.choices[0].logprobs else [])]
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason


def test_log_probabilities_of_chat(client: openai.OpenAI) -> None:
    tokens = _chat(client, logprobs=True, top_logprobs=3, temperature=0).choices[0].logprobs.content
    assert len(tokens) == 12
    for token in tokens:
        assert len(token.top_logprobs) == 3
        assert (token.token, token.logprob) == (token.top_logprobs[0].token, token.top_logprobs[0].logprob)
        assert token.logprob < 0


def test_log_probabilities_of_legacy_completions(client: openai.OpenAI) -> None:
    made = client.completions.create(model="tiny-llama", prompt="The sky", max_tokens=5, logprobs=2, echo=True, seed=1)
    logprobs = made.choices[0].logprobs
    assert logprobs is not None
    assert made.choices[0].text.startswith("The sky")
    assert len(logprobs.tokens or []) == len(logprobs.token_logprobs or []) == len(logprobs.text_offset or []) == 5
    assert logprobs.text_offset is not None
    assert logprobs.text_offset[0] == len("The sky")
    assert all(2 <= len(top) <= 3 for top in logprobs.top_logprobs or [])


def test_empty_text_is_continued(client: openai.OpenAI) -> None:
    made = client.completions.create(model="tiny-llama", prompt="", max_tokens=5)
    assert made.usage is not None
    assert made.usage.prompt_tokens == 1


def test_several_choices_have_seeds_of_their_own(client: openai.OpenAI) -> None:
    several = _chat(client, n=3)
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert several.choices[0].message.content == _chat(client).choices[0].message.content
    assert several.choices[1].message.content == _chat(client, seed=8).choices[0].message.content
    assert several.usage.completion_tokens == 36
    streamed = list(_chat(client, n=2, stream=True))
    assert {chunk.choices[0].index for chunk in streamed} == {0, 1}


def test_stop_sequence_ends_the_answer(client: openai.OpenAI) -> None:
    whole = _chat(client, max_tokens=40).choices[0].message.content
    cut = _chat(client, max_tokens=40, stop=whole[9:11])
    assert cut.choices[0].finish_reason == "stop"
    assert whole.startswith(cut.choices[0].message.content)
    assert whole[9:11] not in cut.choices[0].message.content
    assert cut.usage.completion_tokens < 40


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"stop": "a" * 1_001}, "stop"),
        ({"tool_choice": "required", "tools": TOOLS, "model": "tiny-tools"}, "tool_choice"),
        ({"tools": TOOLS}, "messages"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
    ],
)
def test_what_the_trainer_cannot_do_is_refused(client: openai.OpenAI, more: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        _chat(client, **more)
    assert raised.value.param == param


@pytest.mark.parametrize("stream", [False, True])
def test_prompt_over_the_context_is_openais_error(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError, match="maximum context length is 512 tokens") as raised:
        _chat(client, messages=[{"role": "user", "content": "word " * 600}], stream=stream)
    assert raised.value.code == "context_length_exceeded"


def test_tools_are_read_by_the_template(client: openai.OpenAI) -> None:
    plain, given = _chat(client, model="tiny-tools"), _chat(client, model="tiny-tools", tools=TOOLS)
    assert given.usage.prompt_tokens > plain.usage.prompt_tokens
    none = _chat(client, model="tiny-tools", tools=TOOLS, tool_choice="none")
    assert none.usage.prompt_tokens == plain.usage.prompt_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_caller_who_hangs_up_ends_the_answer(client: openai.OpenAI, engine: LlmEngine, stream: bool) -> None:
    running = engine._serving._worker._running
    long: dict[str, Any] = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 480, "temperature": 2}
    if stream:
        with _chat(client, stream=True, **long) as answer:
            next(iter(answer))
            _until(lambda: bool(engine._serving._worker._running))
    else:
        with pytest.raises(openai.APITimeoutError):
            _chat(client, timeout=0.1, **long)
    jobs = list(engine._serving._worker._running) or running
    _until(lambda: not engine._serving._worker._running)
    assert all(job.sequence._remaining > 0 for job in jobs), "the answer was generated to its end"


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
