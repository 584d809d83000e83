"""Every example of training data: clean by the check, trained by the default trainer, and compared with its base.

The comparisons are over the examples' own validation files, which the models have not seen. What a tiny model makes of
that is printed as it is (`pytest -s`); what is asserted is what holds for it: it learns the form of the answers.
"""

from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from tests.stack import ROOT, DevStack
from tests.wire import Tenant, checked, ended, eventually, new_tenant, upload

CHAT = "gpt-4o-mini-2024-07-18"


@dataclass(frozen=True, kw_only=True)
class Example:
    """One folder, and how its models are compared. `beats` says that the tuned one is better on new examples too."""

    name: str
    graders: list[dict[str, Any]]
    training: str = "train.jsonl"
    model: str = CHAT
    method: str = "supervised"
    options: dict[str, Any] = field(default_factory=dict)
    beats: bool = False


SIMILAR = {"type": "text_similarity", "at_least": 0.5}
EXAMPLES = [
    Example(name="sarcastic-facts", graders=[SIMILAR]),
    Example(name="chinese-finance", graders=[SIMILAR]),
    Example(name="sports-headlines", graders=[{"type": "json_equality"}, SIMILAR]),
    Example(name="function-calling", graders=[{"type": "tool_calls"}], options={"turn": "first"}),
    Example(
        name="function-calling",
        training="train-functions.jsonl",
        graders=[{"type": "tool_calls", "ignore_arguments": ["reason", "first_day", "days", "location", "unit"]}],
        options={"turn": "first"},
        beats=True,
    ),
    Example(
        name="ticket-classification",
        model="babbage-002",
        graders=[{"type": "exact"}],
        options={"max_tokens": 8},
        beats=True,
    ),
    Example(name="preference-pairs", method="dpo", graders=[SIMILAR]),
    Example(name="campaign-mails", graders=[SIMILAR]),
]


@pytest.fixture(scope="module")
def tenant(stack: DevStack) -> Tenant:
    """A project for all of them."""
    ready = stack.ready()
    return new_tenant(ready["base_url"], ready["database_url"])


@dataclass(frozen=True, kw_only=True)
class Started:
    """An example's files, and its job."""

    files: dict[str, str]
    job_id: str


class Jobs:
    """The examples' jobs, of which the next one trains while a test compares: of more, the others would only wait."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._started: dict[str, Started] = {}

    def of(self, example: Example) -> Started:
        """An example's job; it and the one after it have begun."""
        at = EXAMPLES.index(example)
        with self._tenant.http() as client:
            for each in EXAMPLES[at : at + 2]:
                if _id(each) not in self._started:
                    self._started[_id(each)] = _start(client, each)
        return self._started[_id(example)]


@pytest.fixture(scope="module")
def jobs(tenant: Tenant) -> Jobs:
    """The jobs of all examples in one project."""
    return Jobs(tenant)


def _start(client: httpx2.Client, example: Example) -> Started:
    folder = ROOT / "examples" / example.name
    files = {
        name: upload(client, (folder / name).read_bytes(), name=name) for name in (example.training, "valid.jsonl")
    }
    body = {
        "model": example.model,
        "training_file": files[example.training],
        "validation_file": files["valid.jsonl"],
        "seed": 1,
        "method": {"type": example.method, example.method: {"hyperparameters": {"n_epochs": 5}}},
    }
    made = client.post("/fine_tuning/jobs", json=body)
    assert made.status_code == 200, made.text
    return Started(files=files, job_id=made.json()["id"])


def _id(example: Example) -> str:
    return f"{example.name}-{example.training}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("example", EXAMPLES, ids=_id)
def test_is_checked_trained_and_compared(tenant: Tenant, jobs: Jobs, example: Example) -> None:
    folder = ROOT / "examples" / example.name
    assert len((folder / example.training).read_bytes().splitlines()) >= 50
    started = jobs.of(example)
    files, job_id = started.files, started.job_id
    with tenant.http() as client:
        for name, file_id in files.items():
            shown = checked(client, file_id)
            assert shown["status"] == "processed", shown
            report = client.get(f"/files/{file_id}/report").json()
            assert report["errors"] == 0, (name, report["findings"])
        job = ended(client, job_id, within_seconds=500)
        assert job["status"] == "succeeded", job
        begun = {
            name: _comparison(client, example, job["fine_tuned_model"], file_id, _examples(example, name))
            for name, file_id in files.items()
        }
        compared = {name: _compared(client, comparison_id) for name, comparison_id in begun.items()}
    for name, shown in compared.items():
        base, tuned = shown["result"]["models"]
        print(
            f"{example.name}/{name}: base {base['score']['value']:.3f}, tuned {tuned['score']['value']:.3f} "
            f"(better by {tuned['difference']['value']:+.3f}, {tuned['difference']['low']:+.3f} to "
            f"{tuned['difference']['high']:+.3f}; wins {tuned['wins']['wins']}, losses {tuned['wins']['losses']})"
        )
    seen, unseen = (compared[name]["result"]["models"][1] for name in (example.training, "valid.jsonl"))
    assert seen["difference"]["low"] > 0, "it has learnt what it was shown"
    if example.beats:
        assert unseen["difference"]["value"] > 0
        assert unseen["wins"]["losses"] == 0


def _examples(example: Example, name: str) -> int:
    """How many examples of a file are compared: few where the scores are only printed."""
    return 10 if example.beats or name == example.training else 3


def _comparison(client: httpx2.Client, example: Example, tuned: str, file_id: str, examples: int) -> str:
    """The id of a comparison that has begun."""
    body = {
        "models": [example.model, tuned],
        "file": file_id,
        "graders": example.graders,
        "max_examples": examples,
        "max_tokens": 200,
        **example.options,
    }

    def begin() -> dict[str, Any] | None:
        answer = client.post("/model_comparisons", json=body)
        assert answer.status_code == 200 or "report_pending" in answer.text, answer.text
        made: dict[str, Any] = answer.json()
        return made if answer.status_code == 200 else None

    return str(eventually(begin)["id"])


def _compared(client: httpx2.Client, comparison_id: str) -> dict[str, Any]:
    def finished() -> dict[str, Any] | None:
        shown: dict[str, Any] = client.get(f"/model_comparisons/{comparison_id}").json()
        return shown if shown["finished_at"] is not None else None

    shown = eventually(finished, within_seconds=300)
    assert shown["status"] == "succeeded", shown
    return shown
