"""Chat and legacy completions, whole and streamed."""

import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from .conftest import KEY, Trainer, chat_row, client_of, ended, upload

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
SAID = "Hello! How can I help you today?"


class TestWhole:
    def test_answers_and_says_what_stood_in(self, client: openai.OpenAI) -> None:
        made = client.chat.completions.create(model="gpt-4o", messages=HELLO)
        assert made.choices[0].message.content == SAID
        assert made.choices[0].finish_reason == "stop"
        assert made.system_fingerprint == "tiny-engine:stands-in-for:gpt-4o"
        assert made.usage is not None
        assert made.usage.completion_tokens == 8
        assert made.usage.total_tokens == made.usage.prompt_tokens + 8

    def test_own_base_stands_in_for_nobody(self, client: openai.OpenAI) -> None:
        made = client.chat.completions.create(model="tiny-1", messages=HELLO)
        assert made.system_fingerprint == "tiny-engine"

    @pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
    def test_keeps_to_the_limit(self, client: openai.OpenAI, limit: str) -> None:
        made = client.chat.completions.create(model="gpt-4o", messages=HELLO, extra_body={limit: 3})
        assert made.choices[0].message.content == SAID[:12]
        assert made.choices[0].finish_reason == "length"
        assert made.usage is not None
        assert made.usage.completion_tokens == 3

    @pytest.mark.parametrize("stop", ["help", ["zzz", "help you", "help"]])
    def test_ends_before_a_stop_sequence(self, client: openai.OpenAI, stop: str | list[str]) -> None:
        made = client.chat.completions.create(model="gpt-4o", messages=HELLO, stop=stop)
        assert made.choices[0].message.content == "Hello! How can I "
        assert made.choices[0].finish_reason == "stop"

    def test_the_seed_reproduces_a_sampled_answer(self, client: openai.OpenAI) -> None:
        def say(seed: int) -> str | None:
            made = client.chat.completions.create(
                model="gpt-4o",
                messages=[{"role": "user", "content": "xyz"}],
                temperature=2,
                top_p=0.99,
                seed=seed,
                max_tokens=20,
            )
            return made.choices[0].message.content

        assert say(1) == say(1)
        assert len({say(seed) for seed in range(5)}) > 1

    def test_an_idempotency_key_gets_its_answer_again(self, client: openai.OpenAI) -> None:
        def ids(key: str | None, said: str = "Hello", *, times: int = 2) -> set[str]:
            headers = {} if key is None else {"Idempotency-Key": key}
            messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": said}]
            return {
                client.chat.completions.create(model="gpt-4o", messages=messages, extra_headers=headers).id
                for _ in range(times)
            }

        assert len(ids("a")) == 1
        assert len(ids(None)) == 2
        assert ids("a", times=1) != ids("b", times=1)
        assert ids("a", times=1) != ids("a", "Bye", times=1)

    def test_legacy_completion(self, client: openai.OpenAI) -> None:
        made = client.completions.create(model="babbage-002", prompt="Hello", max_tokens=200, echo=True)
        assert made.choices[0].text == "Hello" + SAID
        assert made.usage is not None
        assert made.usage.completion_tokens == 8


class TestStream:
    def _chunks(self, client: openai.OpenAI, **extra: object) -> list[ChatCompletionChunk]:
        return list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, extra_body=extra))

    def test_comes_in_pieces_that_make_the_whole_answer(self, client: openai.OpenAI) -> None:
        chunks = self._chunks(client)
        assert chunks[0].choices[0].delta.role == "assistant"
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == SAID
        assert len(chunks) > 5
        assert [c.choices[0].finish_reason for c in chunks[-2:]] == [None, "stop"]
        assert len({c.id for c in chunks}) == 1
        assert all(c.usage is None for c in chunks)

    def test_ends_with_the_usage_when_asked(self, client: openai.OpenAI) -> None:
        chunks = self._chunks(client, stream_options={"include_usage": True})
        assert chunks[-1].choices == []
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 8

    def test_never_gives_out_a_part_of_a_stop_sequence(self, client: openai.OpenAI) -> None:
        chunks = self._chunks(client, stop=["I help you"])
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello! How can "

    def test_ends_with_done_on_the_wire(self, client: openai.OpenAI) -> None:
        with client.chat.completions.with_streaming_response.create(
            model="gpt-4o", messages=HELLO, stream=True
        ) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = [line for line in answer.iter_lines() if line]
        assert all(line.startswith("data: ") for line in lines)
        assert lines[-1] == "data: [DONE]"

    def test_an_idempotency_key_gets_its_answer_again(self, client: openai.OpenAI) -> None:
        def ids(key: str | None, said: str = "Hello", *, times: int = 2) -> set[str]:
            headers = {} if key is None else {"Idempotency-Key": key}
            messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": said}]
            return {
                client.chat.completions.create(model="gpt-4o", messages=messages, extra_headers=headers).id
                for _ in range(times)
            }

        assert len(ids("a")) == 1
        assert len(ids(None)) == 2
        assert ids("a", times=1) != ids("b", times=1)
        assert ids("a", times=1) != ids("a", "Bye", times=1)

    def test_legacy_completion(self, trainer: Trainer) -> None:
        # OpenAI's own chunks have finish_reason null, which the SDK's type does not allow for.
        client = openai.OpenAI(base_url=f"{trainer.url}/v1", api_key=KEY, max_retries=0)
        chunks = list(client.completions.create(model="davinci-002", prompt="Hello", stream=True))
        assert "".join(c.choices[0].text for c in chunks) == SAID
        assert chunks[-1].choices[0].finish_reason == "stop"


class TestOtherScripts:
    def test_a_chinese_model_answers_in_whole_characters(self, trainer: Trainer) -> None:
        rows = [
            chat_row(f"第{n}号门在哪里？", f"第{n}号门在{place}旁边。🚪")
            for n, place in enumerate("东西南北中前后左右上")
        ]
        with client_of(trainer) as client:
            job = client.fine_tuning.jobs.create(
                model="gpt-4.1-mini", training_file=upload(client, rows), suffix="中文 / test"
            )
            model = ended(client, job.id).fine_tuned_model
            assert model is not None
            assert model.isascii()
            asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "第3号门在哪里？"}]
            chunks = list(client.chat.completions.create(model=model, messages=asked, stream=True))
            assert "".join(c.choices[0].delta.content or "" for c in chunks) == "第3号门在北旁边。🚪"
            assert client.models.retrieve(model).owned_by == "trainer"

    def test_wild_sampling_never_breaks_a_character(self, client: openai.OpenAI) -> None:
        for seed in range(8):
            made = client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "😀 ok"}], temperature=2, seed=seed
            )
            text = made.choices[0].message.content
            assert text is not None
            text.encode()
            assert "\x03" not in text
