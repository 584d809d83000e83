"""The engine and the pure rules around it, without a server."""

import json
from pathlib import Path

import pytest

from trainer.engines.bytemodel.features import END, WIDTH, question_of, rows
from trainer.engines.choice import make_engine
from trainer.engines.steps import Exchange, Figures, Learner, Message, Sampling
from trainer.examples import BadRow, ExampleFile
from trainer.plan import resolve
from trainer.tokens import count_tokens
from trainer.training_run import result_csv

PAIRS = [
    Exchange((Message("user", f"Which animal lives in house {n}?"),), f"In house {n} lives a {animal}.", f"A {animal}?")
    for n, animal in enumerate(("cat", "dog", "owl", "hen", "fox", "ant", "bee", "yak"))
]


def _learner(folder: Path, start: Path | None = None, *, fresh: bool = True, beta: float | None = None) -> Learner:
    engine = make_engine(folder)
    engine.prepare()
    return engine.learner(start, reference=None, fresh_optimizer=fresh, rate_multiplier=1, beta=beta)


@pytest.fixture
def folder(base_weights: Path, tmp_path: Path) -> Path:
    (tmp_path / "weights").symlink_to(base_weights)
    return tmp_path


class TestLearner:
    def test_falls_towards_no_loss(self, folder: Path) -> None:
        learner = _learner(folder)
        before = learner.measure(PAIRS)
        for _ in range(4):
            for pair in PAIRS:
                learner.step([pair])
        after = learner.measure(PAIRS)
        assert before.loss > 1
        assert after.loss < 0.1
        assert after.accuracy > 0.97

    def test_goes_on_from_a_file_as_if_never_interrupted(self, folder: Path, tmp_path: Path) -> None:
        first = _learner(folder, beta=0.1)
        for pair in PAIRS[:4]:
            first.step([pair])
        first.save(tmp_path / "half.npz")
        second = _learner(folder, tmp_path / "half.npz", fresh=False, beta=0.1)
        assert [first.step([p]) for p in PAIRS] == [second.step([p]) for p in PAIRS]

    def test_a_checkpoint_is_small(self, folder: Path, tmp_path: Path) -> None:
        learner = _learner(folder)
        learner.step(PAIRS)
        learner.save(tmp_path / "weights.npz")
        assert (tmp_path / "weights.npz").stat().st_size < 100_000

    def test_preferences_widen_the_margin(self, folder: Path) -> None:
        def rejected_loss(beta: float | None) -> float:
            learner = _learner(folder, beta=beta)
            for _ in range(3):
                for pair in PAIRS:
                    learner.step([pair])
            return learner.measure([Exchange(p.context, p.rejected or "") for p in PAIRS]).loss

        assert rejected_loss(0.5) > rejected_loss(None) + 0.5

    def test_takes_an_answer_longer_than_one_piece(self, folder: Path) -> None:
        figures = _learner(folder).step([Exchange((Message("user", "long"),), "abc " * 3_000)])
        assert isinstance(figures, Figures)


class TestAnswering:
    def test_is_bounded(self, folder: Path) -> None:
        engine = make_engine(folder)
        engine.prepare()
        said = b"".join(engine.load(None).generate([], Sampling(2.0, 1.0, 3, 40)))
        assert len(said) <= 40
        assert END not in said

    def test_sees_the_same_rows_as_learning(self) -> None:
        asked = question_of([Message("user", "What now, 什么?")])
        whole = rows(asked, b"abcdefghijklmnopqrstuvwxyz")
        assert whole.shape == (27, WIDTH)
        assert (whole[:4] == rows(asked, b"abc")).all()


class TestPlan:
    @pytest.mark.parametrize(("examples", "epochs"), [(1, 25), (10, 10), (33, 3), (34, 3), (9_000, 2), (50_000, 1)])
    def test_default_epochs(self, examples: int, epochs: int) -> None:
        plan = resolve(examples=examples, n_epochs=None, batch_size=None, rate=None, beta=None)
        assert plan.n_epochs == epochs

    def test_steps_cover_a_last_short_batch(self) -> None:
        assert resolve(examples=7, n_epochs=2, batch_size=3, rate=None, beta=None).total_steps == 6
        assert resolve(examples=7, n_epochs=2, batch_size=100, rate=None, beta=None).batch_size == 7


class TestExamples:
    def _one(self, tmp_path: Path, row: object) -> ExampleFile:
        path = tmp_path / "rows.jsonl"
        path.write_text(json.dumps(row) + "\n\n")
        return ExampleFile(path, preference=False)

    def test_each_weighted_answer_is_learned_after_what_came_before(self, tmp_path: Path) -> None:
        messages = [
            {"role": "user", "content": "1"},
            {"role": "assistant", "content": "one", "weight": 0},
            {"role": "user", "content": [{"type": "text", "text": "2"}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "content": "two"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]},
        ]
        example = self._one(tmp_path, {"messages": messages})[0]
        assert [(len(e.context), e.answer) for e in example.exchanges] == [(3, "two"), (4, '[{"id":"c"}]')]
        assert example.exchanges[0].context[2].text == "2[image_url]"

    def test_a_file_without_rows_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "empty").write_text("\n \n")
        with pytest.raises(BadRow, match="no examples"):
            ExampleFile(tmp_path / "empty", preference=False)


def test_tokens_without_tiktoken_are_quarter_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    from trainer import tokens

    tokens._counter.cache_clear()
    assert [count_tokens(text) for text in ("", "a", "abcd", "abcde", "你好", "\ud800")] == [0, 1, 1, 2, 2, 1]
    tokens._counter.cache_clear()


def test_result_csv_leaves_out_what_was_not_measured() -> None:
    rows = [{"step": 1, "train_loss": 0.123456, "train_mean_token_accuracy": 0.5}]
    assert result_csv(rows).splitlines()[1] == "1,0.12346,0.50000,,"
