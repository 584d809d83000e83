"""Answers of base models, full models and several adapters on one base, with the weights of tiny models."""

import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainer.engines.llm.loading import load_base
from trainer.engines.llm.models_folder import BaseFolder, read_base
from trainer.engines.llm.serving import Serving
from trainer.engines.llm.weights_memory import Source, WeightsMemory, parameter_bytes
from trainer.engines.llm.worker import MAX_RUNNING, MAX_WAITING, Worker
from trainer.engines.port import Busy, Model, Piece, Refused, Sampling
from trainer.http.answers import Answer, HungUp
from trainer.http.inference import _begun, _events
from trainer.http.shapes import ChatShape
from trainer.rows import Conversation

ASKED = Conversation(({"role": "user", "content": "What is the capital of France?"},))
LONG = Conversation(({"role": "user", "content": "Which colour has the sky? " * 40},))
ROOMY = 1 << 30


@pytest.fixture
def base(tiny_llama: Path) -> BaseFolder:
    return read_base(tiny_llama)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    made = Serving(tmp_path / "cache", memory_bytes=ROOMY)
    yield made
    made.close()


@pytest.fixture(scope="session")
def adapters(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three adapters with random weights on `tiny-llama`."""
    folder = tmp_path_factory.mktemp("adapters")
    for seed in range(3):
        torch.manual_seed(seed)
        lora = LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False)
        get_peft_model(_plain(tiny_llama), lora).save_pretrained(folder / str(seed))
    return [folder / str(seed) for seed in range(3)]


@pytest.fixture(scope="session")
def full(tiny_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Full weights of a tuned model: those of another tiny model."""
    folder = tmp_path_factory.mktemp("full")
    _plain(tiny_tools).save_pretrained(folder)
    return folder


def _plain(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)


def _how(**more: Any) -> Sampling:
    return Sampling(**({"temperature": 0.0, "top_p": 1.0, "seed": 0, "max_tokens": 20} | more))


def _pieces(model: Model, prompt: Conversation | str = ASKED, **how: Any) -> list[Piece]:
    return list(model.generate(prompt, _how(**how)))


def _said(model: Model, prompt: Conversation | str = ASKED, **how: Any) -> bytes:
    return b"".join(piece.text for piece in _pieces(model, prompt, **how))


class TestAnswer:
    @pytest.mark.parametrize("prompt", [ASKED, LONG, "The capital of France"])
    def test_is_what_transformers_generates(
        self, serving: Serving, base: BaseFolder, adapters: list[Path], prompt: Conversation | str
    ) -> None:
        tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True)
        if isinstance(prompt, str):
            read = tokenizer(prompt, return_tensors="pt")
        else:
            messages = list(prompt.messages)
            read = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        for weights in (None, adapters[1]):
            reference = _plain(base.path)
            if weights is not None:
                reference = PeftModel.from_pretrained(reference, weights)
            whole = reference.generate(**read, do_sample=False, max_new_tokens=20)[0][read["input_ids"].shape[1] :]
            expected = tokenizer.decode(whole, skip_special_tokens=True)
            said = _said(serving.load(base, weights), prompt).decode()
            assert said.rstrip("�") == expected.rstrip("�"), "but for a last character that is incomplete"

    def test_seed_reproduces_and_others_differ(self, serving: Serving, base: BaseFolder) -> None:
        model = serving.load(base, None)
        answers = [_said(model, temperature=1.0, seed=seed) for seed in (1, 2, 1)]
        assert answers[0] == answers[2]
        assert answers[0] != answers[1]

    def test_small_top_p_takes_the_likeliest(self, serving: Serving, base: BaseFolder) -> None:
        model = serving.load(base, None)
        assert _said(model, temperature=1.0, top_p=0.0, seed=5) == _said(model)

    def test_ends_at_the_limit_and_at_the_end_of_the_context(self, serving: Serving, base: BaseFolder) -> None:
        model = serving.load(base, None)
        pieces = _pieces(model, max_tokens=3)
        assert (pieces[-1].finish, sum(piece.generated for piece in pieces)) == ("length", 3)
        read = model.count(LONG)
        pieces = _pieces(model, LONG, max_tokens=10_000)
        assert pieces[-1].finish in ("length", "stop")
        assert sum(piece.generated for piece in pieces) <= base.context_tokens - read

    def test_refuses_a_prompt_that_fills_the_context(self, serving: Serving, base: BaseFolder) -> None:
        with pytest.raises(Refused, match="maximum context length is 512 tokens") as refused:
            serving.load(base, None).generate("word " * 600, _how())
        assert refused.value.code == "context_length_exceeded"

    def test_log_probabilities_are_those_of_the_model(self, serving: Serving, base: BaseFolder) -> None:
        tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True)
        read = tokenizer("The sky is", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected = torch.log_softmax(_plain(base.path)(read).logits[0, -1], -1)
        pieces = _pieces(serving.load(base, None), "The sky is", max_tokens=1, temperature=1.0, seed=3, top_logprobs=4)
        token = next(token for piece in pieces for token in piece.tokens)
        best = expected.topk(4)
        assert [value for _, value in token.top] == pytest.approx(best.values.tolist(), abs=1e-4)
        assert token.logprob <= token.top[0][1]

    def test_bytes_of_tokens_make_the_text(self, serving: Serving, base: BaseFolder) -> None:
        pieces = _pieces(serving.load(base, None), temperature=1.0, seed=11, top_logprobs=0, max_tokens=60)
        tokens = b"".join(token.text for piece in pieces for token in piece.tokens)
        special = AutoTokenizer.from_pretrained(base.path, local_files_only=True).all_special_tokens
        for token in special:
            tokens = tokens.replace(token.encode(), b"")
        assert tokens.decode("utf-8", "replace").rstrip("�") == b"".join(p.text for p in pieces).decode().rstrip("�")


class TestManyModels:
    def test_threads_get_what_each_adapter_answers_alone(
        self, serving: Serving, base: BaseFolder, adapters: list[Path]
    ) -> None:
        models = [serving.load(base, weights) for weights in (None, *adapters)]
        alone = [_said(model) for model in models]
        assert len(set(alone)) == 4
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(_said, models * 6)) == alone * 6

    def test_full_weights_are_a_model_of_their_own(self, serving: Serving, base: BaseFolder, full: Path) -> None:
        tuned, plain = serving.load(base, full), serving.load(base, None)
        first = _said(tuned, temperature=1.0)
        assert first != _said(plain, temperature=1.0)
        assert first == _said(tuned, temperature=1.0)

    def test_missing_weights_fail_their_request_only(self, serving: Serving, base: BaseFolder, tmp_path: Path) -> None:
        (tmp_path / "gone").mkdir()
        (tmp_path / "gone" / "adapter_config.json").write_text("{}")
        with pytest.raises(FileNotFoundError):
            _said(serving.load(base, tmp_path / "gone"))
        assert _said(serving.load(base, None))


class TestMemory:
    def test_oldest_adapter_is_let_go_and_loaded_again(
        self, base: BaseFolder, adapters: list[Path], tmp_path: Path
    ) -> None:
        size = (adapters[0] / "adapter_model.safetensors").stat().st_size
        memory = WeightsMemory(parameter_bytes(base.path) + 2 * size)
        sources = [Source(base, weights, tmp_path) for weights in adapters]
        for source in sources:
            memory.release(memory.acquire(source))
        assert [memory.is_loaded(source) for source in sources] == [False, True, True]
        memory.release(memory.acquire(sources[0]))
        assert [memory.is_loaded(source) for source in sources] == [True, False, True]
        assert memory.used_bytes <= parameter_bytes(base.path) + 2 * size

    def test_answers_are_the_same_after_all_adapters_were_let_go(
        self, base: BaseFolder, adapters: list[Path], tmp_path: Path
    ) -> None:
        size = (adapters[0] / "adapter_model.safetensors").stat().st_size
        serving = Serving(tmp_path, memory_bytes=parameter_bytes(base.path) + size + 100_000)
        try:
            models = [serving.load(base, weights) for weights in (None, *adapters)]
            first = [_said(model) for model in models]
            assert len(set(first)) == 4
            assert [_said(model) for model in reversed(models)] == first[::-1]
        finally:
            serving.close()

    def test_weights_in_use_stay_and_the_other_waits(self, base: BaseFolder, full: Path, tmp_path: Path) -> None:
        memory = WeightsMemory(parameter_bytes(base.path) + 1_000)
        used = memory.acquire(Source(base, None, tmp_path))
        memory.reserve(10)
        with pytest.raises(Busy, match="TRAINER_SERVE_MEMORY_BYTES"):
            memory.acquire(Source(base, full, tmp_path))
        memory.give_back(10)
        memory.release(used)
        memory.release(memory.acquire(Source(base, full, tmp_path)))
        assert not memory.is_loaded(Source(base, None, tmp_path))

    def test_what_never_fits_is_refused(self, base: BaseFolder, tmp_path: Path) -> None:
        serving = Serving(tmp_path, memory_bytes=parameter_bytes(base.path) + 1_000)
        try:
            with pytest.raises(Refused, match="longest answer need") as refused:
                _said(serving.load(base, None))
            assert refused.value.code == "out_of_memory"
        finally:
            serving.close()

    def test_size_is_that_of_the_loaded_weights(self, base: BaseFolder, tmp_path: Path) -> None:
        loaded = sum(p.numel() * p.element_size() for p in load_base(base, tmp_path).parameters())
        assert parameter_bytes(base.path) == loaded


class TestLoad:
    def test_more_than_the_bound_is_refused(self, serving: Serving, base: BaseFolder) -> None:
        model = serving.load(base, None)
        _said(model)
        streams: list[Iterator[Piece]] = []
        with pytest.raises(Busy, match="wait already"):
            streams.extend(
                model.generate("The", _how(temperature=2.0, max_tokens=None))
                for _ in range(MAX_RUNNING + MAX_WAITING + 2)
            )
        assert len(streams) >= MAX_WAITING

    @pytest.mark.parametrize("way", ["close", "forget"])
    def test_hang_up_ends_the_answer_within_a_token(self, serving: Serving, base: BaseFolder, way: str) -> None:
        model = serving.load(base, None)
        stream = model.generate(ASKED, _how(temperature=2.0, max_tokens=400))
        list(islice(stream, 3))
        (job,) = serving._worker._running
        if way == "close":
            stream.close()  # type: ignore[attr-defined]
        del stream
        gc.collect()
        before = job.sequence._remaining
        _until(lambda: job.loaded is None)
        assert before - job.sequence._remaining <= 1
        assert serving._memory._reserved == 0

    def test_a_caller_that_hung_up_while_waiting_costs_nothing(self, serving: Serving, base: BaseFolder) -> None:
        model = serving.load(base, None)
        running = [model.generate(ASKED, _how(temperature=2.0, max_tokens=100)) for _ in range(MAX_RUNNING)]
        waiting = model.generate(ASKED, _how(max_tokens=100))
        job = serving._worker._waiting[-1] if serving._worker._waiting else None
        del waiting
        for stream in running:
            for _ in stream:
                pass
        _until(lambda: not serving._worker._running and not serving._worker._waiting)
        assert job is None or job.sequence._cache is None

    def test_callers_that_hung_up_while_waiting_make_room(self, serving: Serving, base: BaseFolder) -> None:
        serving._worker = Worker(serving._memory, max_running=0, max_waiting=2)
        model = serving.load(base, None)
        first, second = model.generate("The", _how()), model.generate("The", _how())
        with pytest.raises(Busy):
            model.generate("The", _how())
        first.close()  # type: ignore[attr-defined]
        third = model.generate("The", _how())
        assert len(serving._worker._waiting) == 2
        del second, third

    def test_a_caller_that_hung_up_before_the_first_event_gets_no_stream(
        self, serving: Serving, base: BaseFolder
    ) -> None:
        made = Answer(serving.load(base, None), ASKED, _how(), (), False, lambda: True)
        shape = ChatShape(logprobs=False, older_calls=False, one_call=False)
        with pytest.raises(HungUp):
            _begun(_events({}, shape, [made], with_usage=False))


def _until(true: Any) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
