"""The datasets in `examples/` as `tunegate check` sees them, without a server; each with the model that it is for."""

import re
from typing import NamedTuple

import pytest

from cli.main import app
from service.datasets.processes.report import report_for_path
from service.settings import Settings
from tests.stack import ROOT

EXAMPLES = ROOT / "examples"
LEAST_ROWS = 50


class Example(NamedTuple):
    """A dataset, and the model that it is for; `valid` shares no example with `train`."""

    name: str
    model: str = "gpt-4o-mini-2024-07-18"
    train: str = "train.jsonl"
    valid: str = "valid.jsonl"


DATASETS = [
    Example("sarcastic-facts"),
    Example("chinese-finance"),
    Example("sports-headlines"),
    Example("function-calling"),
    Example("ticket-classification", "babbage-002"),
    Example("preference-pairs"),
    Example("campaign-mails"),
    Example("ticket-routing"),
    Example("code-review"),
    Example("financial-summaries"),
    Example("contract-clauses"),
    Example("technical-translation"),
]
OTHER_FORMS = [
    Example("function-calling", train="train-functions.jsonl"),
    Example("technical-translation", "babbage-002", "train-completion.jsonl", "valid-completion.jsonl"),
]
"""The same examples as those of the folder, in another format."""


def test_every_dataset_is_listed() -> None:
    found = {path.parent.name for path in EXAMPLES.glob("*/train.jsonl")}
    assert found == {example.name for example in DATASETS}


@pytest.mark.parametrize("example", [*DATASETS, *OTHER_FORMS])
def test_is_checked(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    folder = EXAMPLES / example.name
    train, valid = folder / example.train, folder / example.valid
    options = ["--model", example.model, "--validation", str(valid)]
    assert app(["check", str(train), *options], exit_on_error=False, result_action="return_value") == 0
    assert "Ready to train" in capsys.readouterr().out
    report = report_for_path(train, example.model, Settings.from_env({}))
    assert (report.errors, report.warnings, report.examples >= LEAST_ROWS) == (0, 0, True)


@pytest.mark.parametrize("example", [*DATASETS, *OTHER_FORMS])
def test_its_validation_file_is_one(example: Example) -> None:
    report = report_for_path(EXAMPLES / example.name / example.valid, example.model, Settings.from_env({}))
    assert report.errors == 0
    assert set(report.counts) <= {"few_examples", "completion_few_rows", "completion_task"}


@pytest.mark.parametrize("example", DATASETS)
def test_its_page_says_how_many_examples_it_has_and_how_to_check_them(example: Example) -> None:
    folder = EXAMPLES / example.name
    page = (folder / "README.md").read_text(encoding="utf-8")
    for file in (example.train, example.valid):
        assert str(len((folder / file).read_bytes().splitlines())) in page
    assert f"tunegate check examples/{example.name}/{example.train}" in page


PRICE = re.compile(
    r"^\| (?P<model>[a-z0-9.-]+) \| (?:(?P<file>[a-z-]+\.jsonl) \| )?\$(?P<price>[0-9.]+) \|$", re.MULTILINE
)
PRICED = ["code-review", "financial-summaries", "contract-clauses", "technical-translation"]


@pytest.mark.parametrize("name", PRICED)
def test_the_prices_of_its_page_are_those_of_its_report(name: str) -> None:
    stated = list(PRICE.finditer((EXAMPLES / name / "README.md").read_text(encoding="utf-8")))
    assert len(stated) >= 3
    for each in stated:
        report = report_for_path(
            EXAMPLES / name / (each["file"] or "train.jsonl"), each["model"], Settings.from_env({})
        )
        [price] = [line.price for line in report.prices if line.model == each["model"]]
        assert price is not None
        assert f"{price.value:.{4 if price.value < 0.01 else 2}f}" == each["price"], each["model"]
        assert report.default_epochs == 3
