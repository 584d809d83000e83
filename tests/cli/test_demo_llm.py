"""The parts of `tunegate demo --llm` that need no language model: its data, its figures, its durations."""

import io
import json
import re
from collections import Counter
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from cli.demo.durations import Durations
from cli.demo.llm_figures import answers_table, comparison_table, held_out_losses
from cli.demo.llm_story import FORM, TICKETS, TRAINING
from cli.demo.steps import Prompt
from cli.output import printable


def rows(name: str) -> list[tuple[str, str]]:
    lines = (TRAINING.folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    messages = [json.loads(line)["messages"] for line in lines]
    return [(each[1]["content"], each[2]["content"]) for each in messages]


def text_of(table: Table) -> str:
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


class TestData:
    def test_no_ticket_is_in_two_places(self) -> None:
        tickets = [ticket for name in ("train", "valid", "test") for ticket, _ in rows(name)]
        assert [ticket for ticket, count in Counter([*tickets, *TICKETS]).items() if count > 1] == []
        assert [len(rows(name)) for name in ("train", "valid", "test")] == [100, 20, 40]

    @pytest.mark.parametrize("name", ["train", "valid", "test"])
    def test_every_answer_has_the_asked_form_and_every_team_its_share(self, name: str) -> None:
        answers = [answer for _, answer in rows(name)]
        assert all(re.fullmatch(FORM, answer) for answer in answers)
        teams = Counter(answer.partition(",")[0] for answer in answers)
        assert set(teams.values()) == {len(answers) // 5}

    def test_all_share_one_system_prompt_which_names_the_form(self) -> None:
        prompt = Prompt.first_of(TRAINING.folder / "test.jsonl").with_text("Where is it?")
        assert prompt.messages[-1] == {"role": "user", "content": "Where is it?"}
        for team in ("billing", "technical", "account", "shipping", "sales"):
            assert team in prompt.messages[0]["content"]


def model(passed: float, difference: dict[str, float] | None) -> dict[str, Any]:
    share = {"value": passed, "low": passed / 2, "high": 1.0}
    graders = {name: {"pass_rate": share} for name in ("regular_expression", "exact")}
    wins = {"wins": 30, "ties": 8, "losses": 2} if difference else None
    return {"graders": graders, "score": share, "difference": difference, "wins": wins}


class TestFigures:
    def test_the_comparison_has_both_models_with_intervals(self) -> None:
        difference = {"value": 0.5, "low": 0.25, "high": -0.125}
        shown = {"result": {"cases": 40, "models": [model(0.0, None), model(0.5, difference)]}}
        text = text_of(comparison_table(shown))
        assert "40 tickets that no model was trained on" in text
        assert re.search(r"in the asked form +0% \[0%, 100%\] +50% \[25%, 100%\]", text)
        assert re.search(r"better by +\+0.50 \[\+0.25, -0.12\]", text)
        assert re.search(r"wins / ties / losses +30 / 8 / 2", text)

    def test_the_held_out_loss_is_that_of_the_whole_file_in_order(self) -> None:
        metrics: list[dict[str, Any]] = [
            {"step": 26, "full_valid_loss": 0.5},
            {"step": 1, "valid_loss": 9.0, "full_valid_loss": None},
            {"step": 13, "full_valid_loss": 1.25},
        ]
        assert held_out_losses(metrics) == [1.25, 0.5]

    def test_answers_stand_side_by_side(self) -> None:
        text = text_of(answers_table([("Where is it?", "I am sorry", "shipping, normal")]))
        assert re.search(r"Where is it\? .* I am sorry .* shipping, normal", text)

    def test_a_model_cannot_write_escape_codes_to_the_terminal(self) -> None:
        assert printable("a\x1b[31mb") == "a [31mb"


class TestDurations:
    def test_a_failed_step_is_not_recorded(self) -> None:
        durations = Durations([("files", 2.25)])
        with pytest.raises(ValueError, match="no"), durations.step("training"):
            raise ValueError("no")
        assert durations.line() == "2 s: files 2"
