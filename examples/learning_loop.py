"""The whole loop: generate, report, prepare, quote, train, metrics, compare, promote an alias, call the alias.

Needs OPENAI_BASE_URL and OPENAI_API_KEY (`make run` prints both). Files, jobs and chats use the SDK's methods, calls
that only Tunegate has use its `get` and `post`. With the trainer that `make run` starts, the model that writes examples
is a tiny one whose answers are not JSON, so none of them is used; set WRITER to a better model if you have one.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openai import OpenAI

DATA = Path(__file__).parent / "sports-headlines"
BASE = "gpt-4o-mini-2024-07-18"
WRITER = os.environ.get("WRITER", BASE)
ALIAS = "headlines"
FIELDS = ["sport", "winner", "loser", "score", "competition"]
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": ["string", "null"]} for name in FIELDS},
    "required": FIELDS,
    "additionalProperties": False,
}
HEADLINE = "Arsenal beat Chelsea 3-1 to win FA Cup"

client = OpenAI()


def get(path: str) -> Any:
    return client.get(path, cast_to=object)


def post(path: str, **body: Any) -> Any:
    return client.post(path, body=body, cast_to=object)


def wait(retrieve: Callable[[], Any], unfinished: set[str]) -> Any:
    """Retrieve an object until its status is none of these, and return it."""
    while (current := retrieve())["status"] in unfinished:
        time.sleep(0.5)
    return current


def generate(system_prompt: str) -> list[str]:
    """Lines of a few more examples, written by another model; only those whose answer is a JSON object."""
    request: dict[str, Any] = {
        "topics": ["a football match", "a tennis final", "a basketball game"],
        "n_per_topic": 3,
        "model": WRITER,
        "question": {"prompt": "Write one headline of a sports page about: {topic}"},
        "system_prompt": system_prompt,
        "seed": 1,
    }
    quote = post("/dataset_generations/quotes", **request)
    generation = post("/dataset_generations", **request)
    generation = wait(lambda: get(f"/dataset_generations/{generation['id']}"), {"pending", "running"})
    lines = client.files.content(generation["file"]).text.splitlines() if generation["file"] else []
    usable = [line for line in lines if is_json(json.loads(line)["messages"][-1]["content"])]
    print(
        f"generated  {len(lines)} examples for ${generation['cost']['value']:.6f} (at most "
        f"${quote['price']['upper']['value']:.6f} by the quote); {len(usable)} have an answer in JSON and are used"
    )
    return usable


def is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def prepare(lines: list[str]) -> tuple[str, str]:
    """The repaired training file, and a held-out validation file."""
    file = client.files.create(file=("headlines.jsonl", "\n".join(lines).encode()), purpose="fine-tune")
    client.files.wait_for_processing(file.id, poll_interval=0.5)
    report = get(f"/files/{file.id}/report")
    print(f"report     {report['examples']} examples, {report['errors']} errors, {report['warnings']} warnings")
    preparation = post("/dataset_preparations", file=file.id, fixes="safe", split={"validation_share": 0.1, "seed": 1})
    preparation = wait(lambda: get(f"/dataset_preparations/{preparation['id']}"), {"pending", "running"})
    changes = ", ".join(f"{fix} {count}" for fix, count in preparation["changes"].items()) or "nothing to change"
    print(f"prepared   {preparation['rows_out']} examples, {preparation['validation_rows']} held out; {changes}")
    return preparation["training_file"], preparation["validation_file"]


def train(training_file: str, validation_file: str) -> str:
    """The tuned model's name."""
    for file in (training_file, validation_file):
        client.files.wait_for_processing(file, poll_interval=0.5)
    quote = post("/fine_tuning/quotes", model=BASE, training_file=training_file, validation_file=validation_file)
    print(f"quote      {quote['n_epochs']} epochs, at most ${quote['price']['upper']['value']:.6f}")
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=training_file,
        validation_file=validation_file,
        suffix=ALIAS,
        extra_body={"quote_id": quote["id"]},
    )
    while job.finished_at is None:
        time.sleep(0.5)
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.fine_tuned_model is not None, job.error
    metrics = get(f"/fine_tuning/jobs/{job.id}/metrics")["data"]
    first, last = metrics[0], metrics[-1]
    print(f"trained    {job.trained_tokens} tokens in {last['step']} steps")
    print(f"metrics    loss {first['train_loss']:.2f} to {last['train_loss']:.2f}")
    return job.fine_tuned_model


def compare(tuned: str) -> bool:
    """Whether the tuned model does better than its base on headlines that neither was trained on."""
    test = client.files.create(file=DATA / "valid.jsonl", purpose="fine-tune")
    client.files.wait_for_processing(test.id, poll_interval=0.5)
    comparison = post(
        "/model_comparisons",
        models=[BASE, tuned],
        file=test.id,
        graders=[{"type": "json_schema", "schema": SCHEMA}, {"type": "json_equality"}],
        max_tokens=100,
    )
    comparison = wait(lambda: get(f"/model_comparisons/{comparison['id']}"), {"pending", "running"})
    for model in comparison["result"]["models"]:
        score, graders = model["score"], model["graders"]
        print(
            f"compared   {score['value']:.2f} ({score['low']:.2f} to {score['high']:.2f}) {model['model']}: "
            + ", ".join(f"{name} {figures['pass_rate']['value']:.0%}" for name, figures in graders.items())
        )
    base, better = comparison["result"]["models"]
    return bool(better["score"]["value"] > base["score"]["value"])


def promote(tuned: str) -> None:
    """Point the alias at the model; create it the first time."""
    aliases = {alias["name"]: alias["id"] for alias in get("/model_aliases")["data"]}
    reason = "better on held-out headlines"
    if ALIAS in aliases:
        post(f"/model_aliases/{aliases[ALIAS]}/promote", model=tuned, reason=reason)
    else:
        post("/model_aliases", name=ALIAS, model=tuned, reason=reason)
    print(f"promoted   {ALIAS} is {tuned}")


def main() -> None:
    """Go through the loop once."""
    lines = (DATA / "train.jsonl").read_text(encoding="utf-8").splitlines()
    system_prompt = json.loads(lines[0])["messages"][0]["content"]
    tuned = train(*prepare(lines + generate(system_prompt)))
    if not compare(tuned):
        print("unchanged  the base model does as well; improve the data and try again")
        return
    promote(tuned)
    messages: Any = [{"role": "system", "content": system_prompt}, {"role": "user", "content": HEADLINE}]
    answer = client.chat.completions.create(model=ALIAS, messages=messages, max_tokens=100)
    print(f"called     {HEADLINE}: {answer.choices[0].message.content}")


if __name__ == "__main__":
    main()
