"""The engine and the pure rules around it, without a server."""

import json
from pathlib import Path

import pytest

from trainer.engines.bytemodel.engine import ByteEngine
from trainer.engines.bytemodel.exchanges import Exchange, Text, exchanges_of
from trainer.engines.bytemodel.features import END, WIDTH, question_of, rows
from trainer.engines.bytemodel.learn import ByteLearner, Figures, Preference
from trainer.engines.bytemodel.tokens import count_tokens
from trainer.engines.bytemodel.weights import Table, apply, read, write, zeros
from trainer.engines.choice import make_engine
from trainer.engines.port import Refused, Sampling
from trainer.examples import BadRow, ExampleFile
from trainer.plan import resolve
from trainer.result_file import result_csv
from trainer.rows import ChatRow, Conversation

PAIRS = [
    Exchange((Text("user", f"Which animal lives in house {n}?"),), f"In house {n} lives a {animal}.", f"A {animal}?")
    for n, animal in enumerate(("cat", "dog", "owl", "hen", "fox", "ant", "bee", "yak"))
]


@pytest.fixture(scope="module")
def base(base_weights: Path) -> Table:
    return apply(zeros(), read(base_weights / "base-1.npz"))


def _learner(base: Table, *, beta: float | None = None) -> ByteLearner:
    preference = None if beta is None else Preference(beta, base)
    return ByteLearner(base, None, energy=None, rate=1, preference=preference)


class TestLearner:
    def test_falls_towards_no_loss(self, base: Table) -> None:
        learner = _learner(base)
        before = learner.measure(PAIRS)
        for _ in range(4):
            for pair in PAIRS:
                learner.step([pair])
        after = learner.measure(PAIRS)
        assert before.loss > 1
        assert after.loss < 0.1
        assert after.accuracy > 0.97

    def test_goes_on_from_a_file_as_if_never_interrupted(self, base: Table, tmp_path: Path) -> None:
        first = _learner(base, beta=0.1)
        for pair in PAIRS[:4]:
            first.step([pair])
        half, energy = first.save()
        write(tmp_path / "half.npz", half)
        half = read(tmp_path / "half.npz")
        second = ByteLearner(base, half, energy=energy, rate=1, preference=Preference(0.1, base))
        assert [first.step([p]) for p in PAIRS] == [second.step([p]) for p in PAIRS]

    def test_a_checkpoint_is_small(self, base: Table, tmp_path: Path) -> None:
        learner = _learner(base)
        learner.step(PAIRS)
        write(tmp_path / "weights.npz", learner.save()[0])
        assert (tmp_path / "weights.npz").stat().st_size < 100_000

    def test_preferences_widen_the_margin(self, base: Table) -> None:
        def rejected_loss(beta: float | None) -> float:
            learner = _learner(base, beta=beta)
            for _ in range(3):
                for pair in PAIRS:
                    learner.step([pair])
            return learner.measure([Exchange(p.context, p.rejected or "") for p in PAIRS]).loss

        assert rejected_loss(0.5) > rejected_loss(None) + 0.5

    def test_takes_an_answer_longer_than_one_piece(self, base: Table) -> None:
        figures = _learner(base).step([Exchange((Text("user", "long"),), "abc " * 3_000)])
        assert isinstance(figures, Figures)


class TestAnswering:
    def test_is_bounded(self, base_weights: Path) -> None:
        model = ByteEngine(base_weights).load("tiny-1", None)
        pieces = list(model.generate(Conversation(()), Sampling(2.0, 1.0, 3, 10)))
        said = b"".join(piece.text for piece in pieces)
        assert model.count(said.decode()) == 10
        assert END not in said
        assert [piece.finish for piece in pieces] == [*[None] * (len(pieces) - 1), "length"]

    def test_sees_the_same_rows_as_learning(self) -> None:
        asked = question_of([Text("user", "What now, 什么?")])
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
        exchanges = exchanges_of(self._one(tmp_path, {"messages": messages})[0])
        assert [(len(e.context), e.answer) for e in exchanges] == [(3, "two"), (4, '[{"id":"c"}]')]
        assert exchanges[0].context[2].text == "2[image_url]"

    def test_tools_and_functions_are_both_tools(self, tmp_path: Path) -> None:
        messages = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "one"}]
        tool = {"type": "function", "function": {"name": "a", "parameters": {}}}
        given = {"messages": messages, "tools": [tool], "functions": [{"name": "b"}], "parallel_tool_calls": False}
        row = self._one(tmp_path, given)[0]
        assert isinstance(row, ChatRow)
        assert row.conversation.tools == (tool, {"type": "function", "function": {"name": "b"}})

    @pytest.mark.parametrize(
        ("more", "says"),
        [
            ({"tools": {}, "functions": "x"}, "functions must be a list of objects"),
            ({"tools": [1]}, "tools must be a list of objects"),
            ({"parallel_tool_calls": "yes"}, "parallel_tool_calls must be true or false"),
            ({"messages": [{"role": [], "content": "x"}]}, r"messages\[0\].role must be one of"),
        ],
    )
    def test_what_is_not_a_conversation_is_refused(self, tmp_path: Path, more: dict[str, object], says: str) -> None:
        with pytest.raises(BadRow, match=says):
            self._one(tmp_path, {"messages": [{"role": "assistant", "content": "x"}], **more})

    def test_a_file_without_rows_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "empty").write_text("\n \n")
        with pytest.raises(BadRow, match="no examples"):
            ExampleFile(tmp_path / "empty", preference=False)


def test_tokens_without_tiktoken_are_quarter_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    from trainer.engines.bytemodel import tokens

    tokens._counter.cache_clear()
    assert [count_tokens(text) for text in ("", "a", "abcd", "abcde", "你好", "\ud800")] == [0, 1, 1, 2, 2, 1]
    tokens._counter.cache_clear()


class TestChoice:
    def test_of_an_unknown_engine_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(Refused, match="bytemodel, transformers"):
            make_engine("torch", cache_dir=tmp_path, models_dir=None)


def test_result_csv_leaves_out_what_was_not_measured() -> None:
    rows: list[dict[str, float | None]] = [{"step": 1, "train_loss": 0.123456, "train_mean_token_accuracy": 0.5}]
    assert result_csv(rows).splitlines()[1] == "1,0.12346,0.50000,,"
