"""The datasets in `examples/`: each is checked, trained, and compared with its base on the rows held back."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest

from cli.main import app
from service.datasets.validation import report_for_path
from service.settings import Settings
from tests.stack import ROOT, DevStack
from tests.wire import eventually

EXAMPLES = ROOT / "examples"
LEAST_ROWS = 50
COMPARED = 4


class Example(NamedTuple):
    """A dataset, the model that it is for, and how that is trained."""

    name: str
    train: str = "train.jsonl"
    model: str = "gpt-4o-mini-2024-07-18"
    method: str = "supervised"
    grader: str = "text_similarity"

    @property
    def files(self) -> tuple[Path, Path]:
        """Training and validation."""
        return EXAMPLES / self.name / self.train, EXAMPLES / self.name / "valid.jsonl"


DATASETS = [
    Example("sarcastic-facts"),
    Example("chinese-finance"),
    Example("sports-headlines", grader="json_equality"),
    Example("function-calling", grader="tool_calls"),
    Example("ticket-classification", model="babbage-002", grader="exact"),
    Example("preference-pairs", method="dpo"),
    Example("campaign-mails"),
]


def _ids(examples: Iterable[Example]) -> list[str]:
    return [example.name for example in examples]


def test_every_dataset_is_listed() -> None:
    found = {path.parent.name for path in EXAMPLES.glob("*/train.jsonl")}
    assert found == set(_ids(DATASETS))


@pytest.mark.parametrize("example", [*DATASETS, Example("function-calling", "train-functions.jsonl")])
def test_is_checked(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    train, valid = example.files
    options = ["--model", example.model, *(["--validation", str(valid)] if example.train == "train.jsonl" else [])]
    assert app(["check", str(train), *options], exit_on_error=False, result_action="return_value") == 0
    assert "Ready to train" in capsys.readouterr().out
    report = report_for_path(train, example.model, Settings.from_env({}))
    assert (report.errors, report.examples >= LEAST_ROWS) == (0, True)
    assert (EXAMPLES / example.name / "README.md").stat().st_size > 0


@pytest.mark.timeout(400)
@pytest.mark.parametrize("example", DATASETS, ids=_ids(DATASETS))
def test_is_trained_and_compared(example: Example, stack: DevStack) -> None:
    client = stack.client()
    training, validation = (client.files.create(file=path, purpose="fine-tune").id for path in example.files)
    method: Any = {"type": example.method, example.method: {"hyperparameters": {"n_epochs": 1}}}
    job = client.fine_tuning.jobs.create(
        model=example.model, training_file=training, validation_file=validation, method=method, suffix="example"
    )
    done = eventually(
        lambda: found if (found := client.fine_tuning.jobs.retrieve(job.id)).finished_at else None, within_seconds=200
    )
    assert done.status == "succeeded", done.error
    assert done.trained_tokens
    asked = {
        "models": [example.model, done.fine_tuned_model],
        "file": validation,
        "graders": [{"type": example.grader}],
        "max_examples": COMPARED,
        "max_tokens": 60,
    }
    made: Any = client.post("/model_comparisons", body=asked, cast_to=object)
    compared = eventually(
        lambda: found if (found := _comparison(client, made["id"]))["finished_at"] else None, within_seconds=100
    )
    assert compared["status"] == "succeeded", compared["error"]
    assert compared["result"]["cases"] == COMPARED
    base, tuned = compared["result"]["models"]
    assert (base["model"], tuned["model"]) == (example.model, done.fine_tuned_model)
    assert base["refused"] == tuned["refused"] == 0


def _comparison(client: openai.OpenAI, comparison_id: str) -> Any:
    return client.get(f"/model_comparisons/{comparison_id}", cast_to=object)
