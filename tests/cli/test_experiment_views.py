"""What is typed becomes an experiment's body, and how experiments are printed: no server."""

import io
from typing import Any

import pytest
from rich.console import Console

from cli.arguments.experiment import Common, End, Varied
from cli.errors import Refused
from cli.experiments.request import comparison_of, experiment_body
from cli.experiments.show import show_experiment, show_experiments, show_quote


class TestBody:
    def test_combinations(self) -> None:
        varied = Varied(models=("m", "n"), epochs="2,3", learning_rate_multiplier="0.5, 1", data_share="0.5,1")
        common = Common(method="dpo", suffix="s", metadata=("team=maps",), budget=5.0, max_parallel=3, priority=0)
        body = experiment_body(varied, common, End(early_stopping="median,after=0.3,min_arms=3", promote="a"))
        assert body == {
            "model": "m",
            "grid": {
                "model": ["m", "n"], "n_epochs": [2, 3], "learning_rate_multiplier": [0.5, 1], "data_share": [0.5, 1],
            },
            "method": {"type": "dpo", "dpo": {}},
            "suffix": "s",
            "metadata": {"team": "maps"},
            "budget": 5.0,
            "max_parallel": 3,
            "priority": 0,
            "early_stopping": {"rule": "median", "after": 0.3, "min_arms": 3},
            "promote": "a",
        }  # fmt: skip

    def test_single_arms(self) -> None:
        varied = Varied(models=("m",), arms=("n_epochs=2", "model=n,data_share=0.5,seed=4"))
        assert experiment_body(varied, Common(), End()) == {
            "model": "m",
            "arms": [{"n_epochs": 2}, {"model": "n", "data_share": 0.5, "seed": 4}],
        }

    def test_a_comparison_is_exact_unless_it_is_said(self) -> None:
        assert comparison_of(End(), "file-1") == {
            "file": "file-1", "graders": [{"type": "exact"}], "must_beat": "base",
        }  # fmt: skip
        end = End(graders=("contains=x",), must_beat="current")
        assert comparison_of(end, "f")["graders"] == [{"type": "contains", "text": "x"}]

    @pytest.mark.parametrize(
        ("varied", "end", "words"),
        [
            (Varied(epochs="2"), End(), "Name the model"),
            (Varied(models=("m",)), End(), "Say what the arms vary"),
            (Varied(models=("m",), epochs="2,three"), End(), "--epochs: 'three' is not a number"),
            (Varied(models=("m",), epochs="2,,3"), End(), "--epochs: '' is not a number"),
            (Varied(models=("m",), epochs="true"), End(), "is not a number"),
            (Varied(models=("m",), epochs="2", arms=("seed=1",)), End(), "not both"),
            (Varied(models=("m",), arms=("epochs=1",)), End(), "no setting 'epochs'; it has model, seed"),
            (Varied(models=("m",), arms=("seed",)), End(), "'seed' is not NAME=VALUE"),
            (Varied(models=("m",), epochs="2"), End(early_stopping="median,0.3"), "--early-stopping: '0.3'"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, varied: Varied, end: End, words: str) -> None:
        with pytest.raises(Refused, match=words):
            experiment_body(varied, Common(), end)


def money(value: float) -> dict[str, Any]:
    return {"value": value, "currency": "usd"}


def settings(epochs: int, share: float) -> dict[str, Any]:
    return {
        "model": "m", "seed": 1, "data_share": share, "n_epochs": epochs, "batch_size": "auto",
        "learning_rate_multiplier": "auto", "beta": None,
    }  # fmt: skip


def arm(number: int, share: float, **fields: Any) -> dict[str, Any]:
    nothing = {
        "examples": round(200 * share), "status": "pending", "reason": None, "stopped_early": False, "job": None,
        "training_file": None, "fine_tuned_model": None, "metrics_summary": {"train_loss": None, "valid_loss": None},
        "expected_cost": money(0.1), "cost": None, "trained_tokens": None, "tokens_per_second": None,
        "duration_seconds": None, "verdict": None, "score": None, "difference": None,
    }  # fmt: skip
    return {"arm": number, "settings": settings(3, share), **nothing, **fields}


LOSS = {"final": 0.5, "final_step": 90, "best": 0.25, "best_step": 60}
EXPERIMENT: dict[str, Any] = {
    "id": "exp_1",
    "status": "succeeded",
    "created_at": 1_790_000_000,
    "finished_at": 1_790_000_600,
    "training_file": "file-1",
    "validation_file": "file-2",
    "varied": ["data_share"],
    "arms": [
        arm(1, 0.5, status="cancelled", reason="Its loss is above the median.", cost=money(0.02)),
        arm(
            2,
            1.0,
            status="succeeded",
            cost=money(0.1),
            metrics_summary={"train_loss": LOSS, "valid_loss": LOSS},
            verdict={"kind": "still_falling"},
            score={"value": 0.7, "low": 0.6, "high": 0.8},
        ),
    ],
    "budget": money(1),
    "cost": money(0.12),
    "reserved": money(0),
    "recommended": {"arm": 2, "model": "ft:m:o:s:2", "tied": [], "reason": "It has the lowest validation loss."},
    "comparison": {"id": "cmp_1", "status": "succeeded", "reason": None, "base": None, "base_model": "m"},
    "promotion": {"alias": "maps", "status": "refused", "reason": "It does not beat the base model."},
    "data_scaling": {"message": "Twice the data would lower the loss to 0.2.", "loss": None},
    "early_stopping": {"rule": "median", "after": 0.3},
    "metadata": {"team": "maps"},
    "waiting_reason": None,
    "error": None,
}


def printed(show: Any, value: Any) -> str:
    console = Console(file=io.StringIO(), width=200, highlight=False)
    show(value, console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


class TestShown:
    def test_the_arms_and_what_they_say(self) -> None:
        shown = printed(show_experiment, EXPERIMENT)
        for words in (
            "$0.12", "of $1.00", "median, after 0.3", "team=maps", "50%", "100%", "→ 2", "still falling",
            "Its loss is above the median.", "0.70 [0.60, 0.80]", "Recommended: arm 2: ft:m:o:s:2",
            "It has the lowest validation loss.", "The alias maps was refused: It does not beat the base model.",
            "More data: Twice the data would lower the loss to 0.2.",
        ):  # fmt: skip
            assert words in shown, shown
        assert "None" not in shown

    def test_one_that_has_only_begun(self) -> None:
        begun = {"recommended": None, "comparison": None, "promotion": None, "data_scaling": None, "finished_at": None}
        waiting = {"early_stopping": None, "metadata": None, "waiting_reason": "The budget is reserved."}
        arms = {"arms": [arm(1, 0.5), arm(2, 1.0)], "reserved": money(0.2), "status": "running"}
        shown = printed(show_experiment, EXPERIMENT | begun | waiting | arms)
        assert "The budget is reserved." in shown
        assert "$0.2000 reserved" in shown
        assert "None" not in shown

    def test_none_is_recommended(self) -> None:
        found = {"arm": None, "model": None, "tied": [1, 2], "reason": "No arm has succeeded."}
        assert "No arm is recommended. No arm has succeeded." in printed(
            show_experiment, EXPERIMENT | {"recommended": found}
        )

    def test_a_list(self) -> None:
        shown = printed(show_experiments, [EXPERIMENT])
        assert "exp_1" in shown
        assert shown.split()[-3:] == ["arm", "2", "ft:m:o:s:2"]
        assert printed(show_experiments, []) == "There are no experiments."

    def test_a_quote(self) -> None:
        price = {"low": money(0.1), "expected": money(0.2), "upper": money(0.3)}
        arms = [
            {
                "arm": number, "settings": settings(3, share), "examples": 100, "n_epochs": 3,
                "billable_tokens": 12345, "price": price,
            }
            for number, share in ((1, 0.5), (2, 1.0))
        ]  # fmt: skip
        quote = {
            "arms": arms, "varied": ["data_share"], "comparison": price, "price": price, "budget": money(0.6),
            "remaining_budget": None, "allowed": False, "reasons": ["Too much."], "warnings": ["Careful."],
        }  # fmt: skip
        shown = printed(show_quote, quote)
        for words in ("12,345", "50%", "$0.2000 expected, $0.3000 at most", "$0.6000", "✗ Too much.", "! Careful."):
            assert words in shown, shown
