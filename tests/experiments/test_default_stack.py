"""An experiment of half and whole on the stack that `make run` starts, from the files to what more data would give."""

import time
from typing import Any

import httpx2
import pytest

from tests.stack import ROOT, DevStack
from tests.wire import ENDED

DATA = ROOT / "examples" / "ticket-routing"
MAX_SECONDS = 240.0


def uploaded(http: httpx2.Client, name: str) -> str:
    """A file of the example, checked."""
    content = (DATA / name).read_bytes()
    answer = http.post("/files", data={"purpose": "fine-tune"}, files={"file": (name, content)})
    file_id: str = answer.json()["id"]
    until(http, f"/files/{file_id}", ("processed",))
    return file_id


def until(http: httpx2.Client, path: str, statuses: tuple[str, ...]) -> dict[str, Any]:
    """The object at this path once its status is one of these."""
    deadline = time.monotonic() + MAX_SECONDS
    while True:
        shown: dict[str, Any] = http.get(path).json()
        if shown["status"] in statuses:
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.2)


@pytest.mark.timeout(300)
def test_half_and_whole(stack: DevStack) -> None:
    ready = stack.ready()
    headers = {"authorization": f"Bearer {ready['api_key']}"}
    with httpx2.Client(base_url=ready["base_url"], headers=headers, timeout=90) as http:
        training, validation, test = (uploaded(http, name) for name in ("train.jsonl", "valid.jsonl", "test.jsonl"))
        body = {
            "model": "gpt-4o-mini",
            "training_file": training,
            "validation_file": validation,
            "grid": {"data_share": [0.5, 1.0], "n_epochs": [1]},
            "seed": 1,
            "comparison": {"file": test, "graders": [{"type": "exact"}], "max_examples": 10},
            "promote": "experiment-of-tickets",
        }
        quote = http.post("/fine_tuning/experiments/quotes", json=body).json()
        assert quote["allowed"], quote
        made = http.post("/fine_tuning/experiments", json=body).json()
        done = until(http, f"/fine_tuning/experiments/{made['id']}", ENDED)
        assert done["status"] == "succeeded", done
        half, whole = done["arms"]
        assert (half["examples"], whole["examples"]) == (50, 100)
        for arm in (half, whole):
            job = http.get(f"/fine_tuning/jobs/{arm['job']}").json()
            assert job["experiment"] == {"id": made["id"], "arm": arm["arm"]}
            assert (job["cost"], job["metrics_summary"]) == (arm["cost"], arm["metrics_summary"])
            assert arm["metrics_summary"]["valid_loss"]["final"] > 0
            assert arm["score"]["low"] <= arm["score"]["value"] <= arm["score"]["high"]
        assert 0 < done["cost"]["value"] <= done["budget"]["value"]
        assert done["reserved"]["value"] == 0
        assert done["data_scaling"]["examples"] == 200
        assert done["data_scaling"]["message"]
        recommended = done["recommended"]
        assert recommended["arm"] in (1, 2)
        passed = done["arms"][recommended["arm"] - 1]["difference"]["value"] > 0
        assert done["promotion"]["status"] == ("promoted" if passed else "refused")
        if passed:
            assert http.get("/model_aliases/experiment-of-tickets").json()["model"] == recommended["model"]
