"""What only Tunegate has, reached by the SDK's own way to calls that it does not know."""

import csv
import io
import json

import httpx2
import openai
import pytest
from openai.types.fine_tuning import FineTuningJobEvent

from tests.contract.conftest import Trained
from tests.contract.strict import adapter
from tests.stack import DevStack
from tests.wire import MODEL, chat_rows, checked, ended, eventually, jsonl, refusal, upload

FIGURES = [
    "step",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
]
AMOUNT = {"value", "currency"}


@pytest.fixture(scope="module")
def training_file(http: httpx2.Client) -> str:
    """A checked file of twelve examples."""
    file_id = upload(http, jsonl(chat_rows(12, salt="O")))
    checked(http, file_id)
    return file_id


class TestReport:
    def test_is_ready_with_the_file_and_shaped_as_documented(self, http: httpx2.Client, training_file: str) -> None:
        report = http.get(f"/files/{training_file}/report").json()
        assert {
            "object", "file_id", "status", "progress", "format", "bytes", "examples", "tokens", "default_epochs",
            "billable_tokens", "cookbook", "prices", "errors", "warnings", "counts", "findings",
        } <= set(report)  # fmt: skip
        assert (report["object"], report["file_id"], report["status"]) == ("file.report", training_file, "ready")
        assert (report["format"], report["examples"], report["errors"]) == ("chat", 12, 0)
        assert {"encoding", "total", "trained", "definitions", "per_example", "histogram"} <= set(report["tokens"])
        assert {"min", "max", "mean", "median", "p5", "p95"} == set(report["tokens"]["per_example"])
        assert report["tokens"]["encoding"] == "o200k_base"
        priced = [line for line in report["prices"] if line["price"] is not None]
        assert all(set(line["price"]) == AMOUNT for line in priced)

    def test_another_model_s_encoding_is_counted_on_demand(self, http: httpx2.Client, training_file: str) -> None:
        def check() -> dict[str, object] | None:
            report: dict[str, object] = http.get(
                f"/files/{training_file}/report", params={"model": "gpt-3.5-turbo"}
            ).json()
            return report if report["status"] == "ready" else None

        tokens = eventually(check)["tokens"]
        assert isinstance(tokens, dict)
        assert tokens["encoding"] == "cl100k_base"

    def test_findings_carry_their_place(self, http: httpx2.Client) -> None:
        file_id = upload(http, jsonl(chat_rows(10)) + b'{"messages": [{"role": "wizard", "content": "x"}]}\n')
        checked(http, file_id)
        report = http.get(f"/files/{file_id}/report").json()
        assert report["errors"] > 0
        for finding in report["findings"]:
            assert {"code", "severity", "line", "pointer", "excerpt", "message", "fix"} <= set(finding)
        assert sum(report["counts"].values()) >= len(report["findings"]) > 0
        assert 11 in [finding["line"] for finding in report["findings"] if finding["severity"] == "error"]


class TestQuotes:
    def test_a_quote_binds_the_price_of_a_job(self, http: httpx2.Client, training_file: str) -> None:
        order = {"model": MODEL, "training_file": training_file, "hyperparameters": {"n_epochs": 4}}
        quote = http.post("/fine_tuning/quotes", json=order).json()
        assert {
            "id", "object", "model", "training_file", "validation_file", "n_epochs", "epochs_reason", "tokens",
            "price", "remaining_budget", "allowed", "reasons", "shutdown_date", "expires_at",
        } <= set(quote)  # fmt: skip
        assert quote["object"] == "fine_tuning.quote"
        assert quote["id"].startswith("quote_")
        assert (quote["n_epochs"], quote["allowed"], quote["reasons"]) == (4, True, [])
        assert quote["remaining_budget"] is None
        low, expected, upper = (quote["price"][name]["value"] for name in ("low", "expected", "upper"))
        assert low <= expected <= upper
        assert quote["tokens"]["billable"] == 4 * quote["tokens"]["per_epoch"]
        created = http.post("/fine_tuning/jobs", json={**order, "quote_id": quote["id"]})
        assert created.status_code == 200, created.text
        http.post(f"/fine_tuning/jobs/{created.json()['id']}/cancel")
        other = http.post("/fine_tuning/jobs", json={**order, "model": "gpt-4o", "quote_id": quote["id"]})
        assert (other.status_code, refusal(other)["code"]) == (400, "quote_mismatch")

    def test_a_report_that_nobody_asked_for_yet_is_made_for_the_quote(
        self, http: httpx2.Client, training_file: str
    ) -> None:
        order = {"model": "gpt-3.5-turbo", "training_file": training_file}
        first = http.post("/fine_tuning/quotes", json=order)
        if first.status_code == 409:
            assert refusal(first)["code"] == "report_pending"
            assert (first.headers["x-should-retry"], first.headers["retry-after"]) == ("true", "1")
        quote = eventually(
            lambda: found if (found := http.post("/fine_tuning/quotes", json=order)).status_code == 200 else None
        )
        assert quote.json()["allowed"] is True

    def test_auto_epochs_come_with_their_reason(self, http: httpx2.Client, training_file: str) -> None:
        quote = http.post("/fine_tuning/quotes", json={"model": MODEL, "training_file": training_file}).json()
        assert quote["n_epochs"] > 1
        assert "12 examples" in quote["epochs_reason"]

    def test_a_file_with_errors_is_quoted_as_not_allowed(self, http: httpx2.Client) -> None:
        file_id = upload(http, jsonl(chat_rows(9)))
        checked(http, file_id)
        quote = http.post("/fine_tuning/quotes", json={"model": MODEL, "training_file": file_id}).json()
        assert quote["allowed"] is False
        assert "at least 10" in quote["reasons"][0]


class TestMetrics:
    def test_json_and_csv_say_the_same(self, trained: Trained) -> None:
        with trained.tenant.http() as http:
            shown = http.get(f"/fine_tuning/jobs/{trained.job_id}/metrics").json()
            table = http.get(f"/fine_tuning/jobs/{trained.job_id}/metrics", params={"format": "csv"})
        rows = shown["data"]
        assert shown["object"] == "list"
        assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
        assert all(list(row) == FIGURES for row in rows)
        assert all(row["train_loss"] is not None for row in rows)
        assert any(row["valid_loss"] is not None for row in rows)
        assert table.headers["content-type"].startswith("text/csv")
        read = list(csv.DictReader(io.StringIO(table.text)))
        assert [
            {name: float(value) if value else None for name, value in row.items()} for row in read
        ] == rows  # fmt: skip


class TestTimeline:
    def test_names_every_state_with_its_time(self, trained: Trained) -> None:
        with trained.tenant.http() as http:
            timeline = http.get(f"/fine_tuning/jobs/{trained.job_id}/timeline").json()
        assert timeline["job_id"] == trained.job_id
        assert [entry["state"] for entry in timeline["data"]] == [
            "validating", "waiting", "uploading", "creating", "running", "settling", "succeeded",
        ]  # fmt: skip
        times = [entry["entered_at"] for entry in timeline["data"]]
        assert times == sorted(times)
        assert timeline["waiting_reason"] is None


class TestEventStream:
    def reported(self, http: httpx2.Client, job_id: str, **headers: str) -> list[dict[str, str]]:
        path = f"/fine_tuning/jobs/{job_id}/events"
        events: list[dict[str, str]] = []
        with http.stream("GET", path, params={"stream": "true"}, headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["x-request-id"].startswith("req_")
            for block in "".join(answer.iter_text()).split("\n\n"):
                fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
                if fields:
                    events.append(fields)
        assert events.pop() == {"event": "done", "data": "[DONE]"}
        return events

    def test_tells_everything_in_order_and_ends_with_the_job(self, http: httpx2.Client, training_file: str) -> None:
        asked = {"model": MODEL, "training_file": training_file, "hyperparameters": {"n_epochs": 2}}
        job_id = http.post("/fine_tuning/jobs", json=asked).json()["id"]
        live = self.reported(http, job_id)
        assert ended(http, job_id)["status"] == "succeeded"
        listed = http.get(f"/fine_tuning/jobs/{job_id}/events", params={"limit": 100}).json()["data"]
        assert [event["id"] for event in live] == [event["id"] for event in reversed(listed)]
        assert [json.loads(event["data"]) for event in live] == listed[::-1]
        for event in live:
            assert event["event"] == "fine_tuning.job.event"
            adapter(FineTuningJobEvent).validate_json(event["data"], strict=True)

    def test_goes_on_after_the_last_event_id(self, trained: Trained) -> None:
        with trained.tenant.http() as http:
            every = [event["id"] for event in self.reported(http, trained.job_id)]
            rest = self.reported(http, trained.job_id, **{"last-event-id": every[4]})
            assert [event["id"] for event in rest] == every[5:]
            path = f"/fine_tuning/jobs/{trained.job_id}/events?stream=true"
            unknown = http.get(path, headers={"last-event-id": "ftevent-none"})
            assert (unknown.status_code, refusal(unknown)["code"]) == (400, "invalid_cursor")
            nowhere = http.get("/fine_tuning/jobs/ftjob-none/events?stream=true")
            assert nowhere.status_code == 404


def test_the_sdk_reaches_them(sdk: openai.OpenAI, training_file: str) -> None:
    """`client.get` and `client.post` with the SDK's own authentication and errors."""
    report = sdk.get(f"/files/{training_file}/report", cast_to=object)
    assert isinstance(report, dict)
    with pytest.raises(openai.NotFoundError):
        sdk.get("/files/file-none/report", cast_to=object)


class TestAround:
    @pytest.mark.parametrize(
        ("path", "media"),
        [
            ("/livez", "application/json"),
            ("/readyz", "application/json"),
            ("/openapi.yaml", "application/yaml"),
            ("/docs", "text/html"),
        ],
    )
    def test_needs_no_key(self, http: httpx2.Client, path: str, media: str) -> None:
        answer = httpx2.get(str(http.base_url).removesuffix("/v1/") + path, timeout=90)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(media)
        assert answer.headers["x-request-id"].startswith("req_")

    def test_docs_load_nothing_from_elsewhere(self, http: httpx2.Client) -> None:
        page = httpx2.get(str(http.base_url).removesuffix("/v1/") + "/docs", timeout=90).text
        assert "<script" not in page
        assert "src=" not in page
        assert "@import" not in page
        assert 'href="http' not in page

    def test_metrics_have_labels_of_closed_sets(self, stack: DevStack, http: httpx2.Client) -> None:
        root = str(http.base_url).removesuffix("/v1/")
        with httpx2.Client(base_url=root, timeout=90) as stranger:
            for number in range(3):
                http.get(f"/files/made-up-{number}")
                stranger.get(f"/v1/files/without-key-{number}")
                stranger.request("LOCK", "/v1/files")
                stranger.get(f"/nowhere-{number}")
            assert stranger.get("/metrics").status_code == 404, "they are on the internal listener only"
            text = stranger.get(stack.ready()["metrics_urls"]["api"]).text
        for made_up in ("made-up", "without-key", "LOCK", "nowhere"):
            assert made_up not in text
        assert 'route="/v1/files/{file_id}"' in text
