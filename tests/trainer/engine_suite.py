"""What every engine must do, against the port alone: a module subclasses `EngineSuite` and has a fixture `engine`."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from trainer.engines.port import Engine, Fenced, JobSettings, Method, Model, Progress, Sampling, Work
from trainer.examples import BadRow, parse_conversation
from trainer.plan import Plan
from trainer.rows import ChatRow, CompletionRow, Conversation, PreferenceRow, Row

LIKELIEST = Sampling(temperature=0.0, top_p=1.0, seed=1, max_tokens=24)
ANIMALS = ("cat", "dog", "owl", "hen")


class MemoryRows:
    """Rows of a file that is not there; each stands on the line of its number."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._rows[index]

    def line(self, index: int) -> int:
        return index + 1


@dataclass
class MemoryRecorder:
    """The recorder of one process, in memory; what it saves lies in `folder`.

    After `fence_after` steps the process no longer owns its job; `dies_after` raises where kill -9 would strike.
    """

    folder: Path
    fence_after: int | None = None
    dies_after: int | None = None
    steps: dict[int, tuple[int, dict[str, float]]] = field(default_factory=dict)
    saved: list[Progress] = field(default_factory=list)
    checkpoints: dict[int, dict[str, float]] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)

    def step(self, step: int, *, tokens: int, figures: Mapping[str, float]) -> None:
        self.proceed()
        self.steps[step] = (tokens, dict(figures))
        if self.dies_after is not None and step >= self.dies_after:
            raise Killed

    def save(
        self, step: int, *, tokens: int, model: Path, state: Path | None, checkpoint: Mapping[str, float] | None
    ) -> None:
        self.proceed()
        folder = self.folder / f"step-{step}"
        shutil.copytree(model, folder / "model")
        if state is not None:
            shutil.copytree(state, folder / "state")
        if self.saved:
            shutil.rmtree(self.saved[-1].folder / "state", ignore_errors=True)
        self.saved.append(Progress(folder, step, tokens))
        if checkpoint is not None:
            self.checkpoints[step] = dict(checkpoint)

    def proceed(self) -> None:
        if self.fence_after is not None and len(self.steps) >= self.fence_after:
            raise Fenced

    def message(self, key: str, text: str, *, level: Literal["info", "warn"] = "info") -> None:
        self.messages.setdefault(key, text)

    @property
    def model(self) -> Path:
        """The last model that was saved."""
        return self.saved[-1].folder / "model"


class Killed(BaseException):
    """The end of a process that is killed, for which an engine can do nothing."""


def chat(question: str, answer: str) -> ChatRow:
    """A row with one question and one answer."""
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return ChatRow(Conversation(messages))


CHATS = MemoryRows([chat(f"Who lives in house {n}?", f"A {animal}.") for n, animal in enumerate(ANIMALS)])
PREFERENCES = MemoryRows(
    [
        PreferenceRow(
            Conversation(({"role": "user", "content": f"Who lives in house {n}?"},)),
            ({"role": "assistant", "content": f"A {animal}."},),
            ({"role": "assistant", "content": "No idea at all."},),
        )
        for n, animal in enumerate(ANIMALS)
    ]
)


class EngineSuite:
    """The tests; `base` is the name of the engine's first model, and `rate` multiplies
    the learning rate so that a few steps show an effect."""

    rate: float = 1.0
    epochs: int = 4

    @pytest.fixture
    def base(self, engine: Engine) -> str:
        return engine.bases()[0].name

    @pytest.fixture
    def work(self, base: str, tmp_path: Path) -> Callable[..., Work]:
        def make(*, rows: MemoryRows = CHATS, method: Method = "supervised", seed: int = 7, **changes: Any) -> Work:
            scratch = tmp_path / f"scratch-{len(list(tmp_path.iterdir()))}"
            scratch.mkdir()
            plan = Plan(n_epochs=self.epochs, batch_size=2, rate=self.rate, beta=0.5, examples=len(rows))
            continues = changes.get("start") is not None
            work = Work(
                settings=JobSettings(base=base, method=method, seed=seed, adapter=None, continues=continues),
                plan=plan,
                training=rows,
                validation=None,
                start=None,
                progress=None,
                snapshot_tokens=10**9,
                pace_seconds=0.0,
                scratch=scratch,
            )
            return replace(work, **changes)

        return make

    def test_a_known_job_is_accepted_and_its_tokens_are_counted(self, engine: Engine, base: str) -> None:
        settings = JobSettings(base=base, method="supervised", seed=1, adapter=None, continues=False)
        engine.check(settings)
        one = engine.validate(settings, MemoryRows([CHATS[0]]))
        both = engine.validate(settings, MemoryRows([CHATS[0], CHATS[0]]))
        assert both.tokens == 2 * one.tokens > 0
        assert both.truncated_rows == 0

    def test_a_refusal_is_an_answer_to_learn(self, engine: Engine, base: str) -> None:
        settings = JobSettings(base=base, method="supervised", seed=7, adapter=None, continues=False)
        question = {"role": "user", "content": "May I?"}

        def tokens(*answers: dict[str, object]) -> int:
            rows = [parse_conversation({"messages": [question, {"role": "assistant", **answer}]}) for answer in answers]
            return engine.validate(settings, MemoryRows([ChatRow(row) for row in rows])).tokens

        said = tokens({"content": "I cannot help with that."})
        for content in ({"content": None}, {"content": ""}, {}):
            assert tokens({**content, "refusal": "I cannot help with that."}) == said

    def test_a_bad_row_is_refused_with_its_line(self, engine: Engine, base: str) -> None:
        settings = JobSettings(base=base, method="supervised", seed=1, adapter=None, continues=False)
        with pytest.raises(BadRow, match="Line 2"):
            engine.validate(settings, BadRows([CHATS[0], CHATS[1]]))

    def test_loss_falls_and_each_epoch_leaves_a_checkpoint(
        self, engine: Engine, work: Callable[..., Work], tmp_path: Path
    ) -> None:
        recorder = MemoryRecorder(tmp_path / "saved")
        engine.train(work(validation=CHATS), recorder)
        assert list(recorder.steps) == list(range(1, 2 * self.epochs + 1))
        figures = [figures for _, figures in recorder.steps.values()]
        assert figures[-1]["train_loss"] < figures[0]["train_loss"]
        assert all({"train_loss", "train_mean_token_accuracy", "valid_loss"} <= each.keys() for each in figures)
        assert all(0 <= each["train_mean_token_accuracy"] <= 1 for each in figures)
        assert list(recorder.checkpoints) == list(range(2, 2 * self.epochs + 1, 2))
        assert recorder.checkpoints[2].keys() >= {"train_loss", "full_valid_loss", "full_valid_mean_token_accuracy"}
        assert recorder.saved[-1].step == 2 * self.epochs

    def test_trained_tokens_are_those_of_the_data_times_epochs(
        self, engine: Engine, work: Callable[..., Work], tmp_path: Path
    ) -> None:
        given = work()
        recorder = MemoryRecorder(tmp_path / "saved")
        engine.train(given, recorder)
        counts = [tokens for tokens, _ in recorder.steps.values()]
        assert counts == sorted(counts)
        assert counts[-1] == engine.validate(given.settings, CHATS).tokens * self.epochs

    def test_the_seed_reproduces_every_figure(self, engine: Engine, work: Callable[..., Work], tmp_path: Path) -> None:
        runs = []
        for number, seed in enumerate((7, 7, 8)):
            recorder = MemoryRecorder(tmp_path / f"saved-{number}")
            engine.train(work(seed=seed), recorder)
            runs.append(recorder.steps)
        assert runs[0] == runs[1]
        assert runs[0] != runs[2]

    @pytest.mark.parametrize("snapshot_tokens", [1, 10**9], ids=["snapshots", "checkpoints"])
    def test_an_interrupted_training_has_the_figures_of_an_uninterrupted_one(
        self, engine: Engine, work: Callable[..., Work], tmp_path: Path, snapshot_tokens: int
    ) -> None:
        whole = MemoryRecorder(tmp_path / "whole")
        engine.train(work(snapshot_tokens=snapshot_tokens), whole)
        killed = MemoryRecorder(tmp_path / "killed", dies_after=4)
        with pytest.raises(Killed):
            engine.train(work(snapshot_tokens=snapshot_tokens), killed)
        progress = killed.saved[-1]
        assert progress.step == (3 if snapshot_tokens == 1 else 2)
        again = MemoryRecorder(tmp_path / "again")
        engine.train(work(snapshot_tokens=snapshot_tokens, progress=progress), again)
        assert list(again.steps) == list(range(progress.step + 1, 2 * self.epochs + 1))
        assert killed.steps | again.steps == whole.steps
        assert killed.checkpoints | again.checkpoints == whole.checkpoints

    def test_a_snapshot_inside_an_epoch_is_no_checkpoint(
        self, engine: Engine, work: Callable[..., Work], tmp_path: Path
    ) -> None:
        recorder = MemoryRecorder(tmp_path / "saved")
        engine.train(work(snapshot_tokens=1), recorder)
        assert [saved.step for saved in recorder.saved] == list(range(1, 2 * self.epochs + 1))
        assert list(recorder.checkpoints) == list(range(2, 2 * self.epochs + 1, 2))

    def test_a_fenced_training_stops(self, engine: Engine, work: Callable[..., Work], tmp_path: Path) -> None:
        recorder = MemoryRecorder(tmp_path / "saved", fence_after=3)
        with pytest.raises(Fenced):
            engine.train(work(), recorder)
        assert list(recorder.steps) == [1, 2, 3]

    def test_a_checkpoint_answers_otherwise_than_its_base(
        self, engine: Engine, base: str, work: Callable[..., Work], tmp_path: Path
    ) -> None:
        recorder = MemoryRecorder(tmp_path / "saved")
        engine.train(work(), recorder)
        prompt = Conversation(({"role": "user", "content": "Who lives in house 2?"},))
        tuned = engine.load(base, recorder.model)
        assert _answer(tuned, prompt) != _answer(engine.load(base, None), prompt)
        assert _answer(tuned, prompt) == _answer(engine.load(base, recorder.model), prompt)
        assert tuned.count(prompt) > tuned.count("2") > 0

    def test_goes_on_from_a_tuned_model(self, engine: Engine, work: Callable[..., Work], tmp_path: Path) -> None:
        first, second = MemoryRecorder(tmp_path / "first"), MemoryRecorder(tmp_path / "second")
        engine.train(work(), first)
        engine.train(work(start=first.model), second)
        losses = [recorder.steps[1][1]["train_loss"] for recorder in (first, second)]
        assert losses[1] < losses[0]
        assert list(second.steps) == list(first.steps)

    def test_preferences_widen_the_margin(
        self, engine: Engine, base: str, work: Callable[..., Work], tmp_path: Path
    ) -> None:
        recorder = MemoryRecorder(tmp_path / "saved")
        given = work(rows=PREFERENCES, method="dpo")
        engine.validate(given.settings, PREFERENCES)
        engine.train(given, recorder)
        tuned = engine.load(base, recorder.model)
        before, after = (self.margin(engine, base, weights, work, tmp_path) for weights in (None, recorder.model))
        assert after > before
        assert tuned.count("A cat.") > 0

    def margin(
        self, engine: Engine, base: str, weights: Path | None, work: Callable[..., Work], tmp_path: Path
    ) -> float:
        """How much likelier the preferred answers are than the rejected ones, by the loss of a first step on each."""

        def loss(side: str) -> float:
            rows = [ChatRow(Conversation((*row.conversation.messages, *getattr(row, side)))) for row in _pairs()]
            recorder = MemoryRecorder(tmp_path / f"{side}-{weights is None}", fence_after=1)
            plan = Plan(n_epochs=1, batch_size=len(rows), rate=self.rate, beta=0.1, examples=len(rows))
            with suppress(Fenced):
                engine.train(work(rows=MemoryRows(rows), start=weights, plan=plan), recorder)
            return recorder.steps[1][1]["train_loss"]

        return loss("rejected") - loss("preferred")

    def test_completion_rows_are_learned(self, engine: Engine, work: Callable[..., Work], tmp_path: Path) -> None:
        rows = MemoryRows([CompletionRow(f"House {n}:", f" {animal}") for n, animal in enumerate(ANIMALS)])
        given = work(rows=rows)
        engine.validate(given.settings, rows)
        recorder = MemoryRecorder(tmp_path / "saved")
        engine.train(given, recorder)
        assert recorder.steps[2 * self.epochs][1]["train_loss"] < recorder.steps[1][1]["train_loss"]

    def test_an_answer_ends_at_max_tokens(self, engine: Engine, base: str) -> None:
        model = engine.load(base, None)
        pieces = list(model.generate("Once upon a time", replace(LIKELIEST, temperature=1.0, max_tokens=2)))
        assert pieces[-1].finish in ("stop", "length")
        assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
        assert model.count(b"".join(piece.text for piece in pieces).decode(errors="replace")) <= 2 + 1


def _answer(model: Model, prompt: Conversation | str) -> bytes:
    return b"".join(piece.text for piece in model.generate(prompt, LIKELIEST))


def _pairs() -> list[PreferenceRow]:
    rows = [PREFERENCES[index] for index in range(len(PREFERENCES))]
    return [row for row in rows if isinstance(row, PreferenceRow)]


class BadRows(MemoryRows):
    """Rows whose second one cannot be read."""

    def __getitem__(self, index: int) -> Row:
        if index == 1:
            raise BadRow(self.line(index), "not a JSON object")
        return super().__getitem__(index)
