"""Points an alias at every newly tuned model that passes a smoke test. README.md explains it and says how to run it."""

import os
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai

ALIAS = os.environ["DEPLOY_ALIAS"]
QUESTION = os.environ.get("DEPLOY_QUESTION", "Are you there?")
client = openai.OpenAI(timeout=15, max_retries=0)  # OPENAI_BASE_URL, OPENAI_API_KEY, OPENAI_WEBHOOK_SECRET
seen = sqlite3.connect(os.environ.get("DEPLOY_SEEN", "deployed.sqlite"), check_same_thread=False, isolation_level=None)
seen.execute("CREATE TABLE IF NOT EXISTS seen (webhook_id TEXT PRIMARY KEY)")
one_at_a_time = threading.Lock()


def smoke_test(model: str) -> bool:
    """Whether the model can serve. Raises `OpenAIError` when this cannot be decided now."""
    try:
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": QUESTION}], max_tokens=64
        )
    except (openai.BadRequestError, openai.NotFoundError):
        return False
    return bool((answer.choices[0].message.content or "").strip())


def deploy(model: str, created_at: int) -> str:
    """Point the alias at the model, unless it was promoted since. Returns what was done."""
    try:
        alias = client.get(f"/model_aliases/{ALIAS}", cast_to=dict[str, object])
    except openai.NotFoundError:
        client.post("/model_aliases", body={"name": ALIAS, "model": model}, cast_to=object)
        return f"made {ALIAS} for {model}"
    if int(str(alias["updated_at"])) > created_at:
        return f"left {ALIAS} at {alias['model']}, which is newer than {model}"
    body = {"model": model, "expected_model": alias["model"], "reason": "It passed the smoke test."}
    try:
        client.post(f"/model_aliases/{ALIAS}/promote", body=body, cast_to=object)
    except openai.ConflictError:
        return f"left {ALIAS}, which was promoted in the meantime"
    return f"promoted {ALIAS} to {model}"


class Hook(BaseHTTPRequestHandler):
    """Receives deliveries."""

    def do_POST(self) -> None:
        """Verify, de-duplicate, test, deploy; README.md explains each response."""
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            event = client.webhooks.unwrap(body, dict(self.headers))
        except (openai.InvalidWebhookSignatureError, ValueError):
            return self.answer(400, "refused a delivery without a valid signature")
        if event.type != "fine_tuning.job.succeeded":
            return self.answer(204, f"ignored {event.type}")
        model, webhook_id = str(event.data.model_dump()["fine_tuned_model"]), self.headers["webhook-id"]
        with one_at_a_time:
            if seen.execute("SELECT 1 FROM seen WHERE webhook_id = ?", [webhook_id]).fetchone():
                return self.answer(204, f"processed {webhook_id} before")
            try:
                result = deploy(model, event.created_at) if smoke_test(model) else f"did not deploy {model}: it failed"
            except openai.OpenAIError as error:
                return self.answer(500, f"could not deploy {model} now: {error!r}")
            seen.execute("INSERT INTO seen VALUES (?)", [webhook_id])
        return self.answer(204, result)

    def answer(self, status: int, result: str) -> None:
        """Answer without a body, and print what was done."""
        print(result, flush=True)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: `answer` prints each result."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Hook)
    print(f"receiving on http://127.0.0.1:{server.server_address[1]}/", flush=True)
    server.serve_forever()
