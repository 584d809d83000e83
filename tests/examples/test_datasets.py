"""The datasets in `examples/` as `tunegate check` sees them, without a server; each with the model that it is for."""

from typing import NamedTuple

import pytest

from cli.main import app
from service.datasets.processes.report import report_for_path
from service.settings import Settings
from tests.stack import ROOT

EXAMPLES = ROOT / "examples"
LEAST_ROWS = 50


class Example(NamedTuple):
    """A dataset, and the model that it is for."""

    name: str
    model: str = "gpt-4o-mini-2024-07-18"
    train: str = "train.jsonl"


DATASETS = [
    Example("sarcastic-facts"),
    Example("chinese-finance"),
    Example("sports-headlines"),
    Example("function-calling"),
    Example("ticket-classification", "babbage-002"),
    Example("preference-pairs"),
    Example("campaign-mails"),
    Example("ticket-routing"),
]


def test_every_dataset_is_listed() -> None:
    found = {path.parent.name for path in EXAMPLES.glob("*/train.jsonl")}
    assert found == {example.name for example in DATASETS}


@pytest.mark.parametrize("example", [*DATASETS, Example("function-calling", train="train-functions.jsonl")])
def test_is_checked(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    folder = EXAMPLES / example.name
    train, valid = folder / example.train, folder / "valid.jsonl"
    options = ["--model", example.model, *(["--validation", str(valid)] if example.train == "train.jsonl" else [])]
    assert app(["check", str(train), *options], exit_on_error=False, result_action="return_value") == 0
    assert "Ready to train" in capsys.readouterr().out
    report = report_for_path(train, example.model, Settings.from_env({}))
    assert (report.errors, report.examples >= LEAST_ROWS) == (0, True)
    assert (folder / "README.md").stat().st_size > 0
