"""Points an alias at every freshly tuned model that passes a smoke test. README.md says how to run it, and why so."""

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
    """Whether the model can serve. Raises `OpenAIError` where that cannot be said now."""
    try:
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": QUESTION}], max_tokens=64
        )
    except (openai.BadRequestError, openai.NotFoundError):
        return False
    return bool((answer.choices[0].message.content or "").strip())


def deploy(model: str, created_at: int) -> str:
    """Point the alias at the model, unless it has moved since."""
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
        return f"left {ALIAS}, which somebody else has moved"
    return f"promoted {ALIAS} to {model}"


class Hook(BaseHTTPRequestHandler):
    """Receives deliveries."""

    def do_POST(self) -> None:
        """Verify, de-duplicate, test, deploy; what the answer means stands in README.md."""
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            event = client.webhooks.unwrap(body, dict(self.headers))
        except (openai.InvalidWebhookSignatureError, ValueError):
            return self.answer(400, "refused what is not signed for us")
        if event.type != "fine_tuning.job.succeeded":
            return self.answer(204, f"passed over {event.type}")
        model, webhook_id = str(event.data.model_dump()["fine_tuned_model"]), self.headers["webhook-id"]
        with one_at_a_time:
            if seen.execute("SELECT 1 FROM seen WHERE webhook_id = ?", [webhook_id]).fetchone():
                return self.answer(204, f"knew {webhook_id} already")
            try:
                said = deploy(model, event.created_at) if smoke_test(model) else f"did not deploy {model}: it failed"
            except openai.OpenAIError as error:
                return self.answer(500, f"could not deploy {model} now: {error!r}")
            seen.execute("INSERT INTO seen VALUES (?)", [webhook_id])
        return self.answer(204, said)

    def answer(self, status: int, said: str) -> None:
        """Answer without a body, and say on the terminal what was done."""
        print(said, flush=True)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """`answer` says what there is to say."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Hook)
    print(f"receiving on http://127.0.0.1:{server.server_address[1]}/", flush=True)
    server.serve_forever()
