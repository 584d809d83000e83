"""The commands of the examples' pages, as they stand there, on a running stack: quoted, trained and compared.

Two options are added, to save time: a training has one epoch, and a comparison two examples.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from markdown_it import MarkdownIt

from cli.main import app
from tests.stack import ROOT, DevStack
from tests.wire import Tenant, checked, new_tenant, refusal, upload

EXAMPLES = ROOT / "examples"
HERE = f"run by {Path(__file__).relative_to(ROOT).as_posix()}"
SHORTER = {"quote": ["--epochs", "1"], "train": ["--epochs", "1"], "compare": ["--max-examples", "2"]}


@pytest.fixture(scope="module")
def tenant(stack: DevStack) -> Tenant:
    """A project for all of them."""
    ready = stack.ready()
    return new_tenant(ready["base_url"], ready["database_url"])


@pytest.fixture
def http(tenant: Tenant) -> Iterator[httpx2.Client]:
    with tenant.http() as client:
        yield client


def commands(name: str) -> Iterator[list[str]]:
    """The commands of an example's page that this module runs, as lists of arguments."""
    page = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    for token in MarkdownIt().parse(page):
        if token.type == "fence" and token.info == f"sh {HERE}":
            yield ["cd", str(ROOT)]  # each block begins there
            for line in token.content.replace("\\\n", " ").splitlines():
                yield shlex.split(line)


def tuned_model(http: httpx2.Client, placeholder: str) -> str:
    """The newest model that `ft:BASE:…` stands for."""
    base = placeholder.split(":")[1]
    for job in http.get("/fine_tuning/jobs").json()["data"]:
        if (job["fine_tuned_model"] or "").startswith(f"ft:{base}"):
            return str(job["fine_tuned_model"])
    raise AssertionError(f"no job has trained {base}")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["code-review", "financial-summaries", "contract-clauses", "technical-translation"])
def test_its_commands_quote_train_and_compare(
    tenant: Tenant,
    http: httpx2.Client,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", tenant.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", tenant.key)
    ran = []
    for program, *words in commands(name):
        if program == "cd":
            monkeypatch.chdir(words[0])
            continue
        assert program == "tunegate"
        arguments = [tuned_model(http, word) if word.endswith(":…") else word for word in words]
        status = app([*arguments, *SHORTER[words[0]]], exit_on_error=False, result_action="return_value")
        shown = capsys.readouterr()
        assert status == 0, (words, shown)
        ran.append(words[0])
        if words[0] == "quote":
            assert re.search(r"\$0\.\d+", shown.out), shown.out
        if words[0] == "compare":
            assert "2 of 2 examples" in shown.out
    assert set(ran) == {"quote", "train", "compare"}
    for job in http.get("/fine_tuning/jobs").json()["data"]:
        assert (job["status"], job["trained_tokens"] > 0) == ("succeeded", True), job


def test_completions_are_refused_by_a_chat_model_and_the_message_says_what_it_needs(http: httpx2.Client) -> None:
    content = (EXAMPLES / "technical-translation" / "train-completion.jsonl").read_bytes()
    file_id = upload(http, content, name="completions.jsonl")
    checked(http, file_id)
    body = {"model": "gpt-4o-mini-2024-07-18", "training_file": file_id}
    refused = refusal(http.post("/fine_tuning/jobs", json=body))
    assert refused["code"] == "invalid_file_format"
    assert "in the completion format; 'supervised' on gpt-4o-mini-2024-07-18 needs: chat." in refused["message"]
    assert "babbage-002" in refused["message"]
