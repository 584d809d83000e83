"""Every rule of a request and how its breach is refused: status, `param`, `code`, and a message that helps."""

import json
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from service.database.engine import Database, create_engine
from service.identity.keys import fingerprint, new_key
from service.states import KeyKind
from service.wakeups import Wakeups
from tests.stack import DevStack, run_async
from tests.wire import (
    MODEL,
    OTHER_ENCODING,
    Tenant,
    chat_rows,
    checked,
    completion_rows,
    eventually,
    jsonl,
    new_tenant,
    preference_rows,
    refusal,
    upload,
)

GOOD = "file-that-is-not-there"
"""Rules about fields are checked before any file is looked up."""


def supervised(**hyperparameters: Any) -> dict[str, Any]:
    """A method with these hyperparameters."""
    return {"method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}}


def dpo(**hyperparameters: Any) -> dict[str, Any]:
    """The same for preference data."""
    return {"method": {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}}


WANDB = {"type": "wandb", "wandb": {"project": "x"}}

FIELDS: list[tuple[dict[str, Any], str, str, str]] = [
    # what the body changes, `param`, `code`, a part of the message
    ({"model": None}, "model", "invalid_type", "must be a string"),
    ({"model": 5}, "model", "invalid_type", "must be a string"),
    ({"model": "gpt-9"}, "model", "model_not_found", "gpt-4o-mini-2024-07-18"),
    ({"model": ""}, "model", "model_not_found", "gpt-4o-mini-2024-07-18"),
    ({"model": "ft:gpt-4o:nobody::x"}, "model", "model_not_found", "davinci-002"),
    ({"model": "x" * 5000}, "model", "model_not_found", "gpt-4o"),
    ({"training_file": 1}, "training_file", "invalid_type", "must be a string"),
    ({"training_file": GOOD}, "training_file", "file_not_found", "Upload it with purpose 'fine-tune'"),
    ({"training_file": ""}, "training_file", "file_not_found", "Upload it"),
    ({"training_file": "x" * 9000}, "training_file", "file_not_found", "Upload it"),
    ({"training_file": "../../etc/passwd"}, "training_file", "file_not_found", "Upload it"),
    ({"validation_file": []}, "validation_file", "invalid_type", "a string"),
    ({"suffix": ""}, "suffix", "invalid_value", "1 to 64 characters"),
    ({"suffix": "s" * 65}, "suffix", "invalid_value", "1 to 64 characters"),
    ({"suffix": 3}, "suffix", "invalid_type", "1 to 64 characters"),
    ({"seed": -1}, "seed", "invalid_value", "0 to 2147483647"),
    ({"seed": 2147483648}, "seed", "invalid_value", "0 to 2147483647"),
    ({"seed": 10**400}, "seed", "invalid_value", "0 to 2147483647"),
    ({"seed": "1"}, "seed", "invalid_type", "0 to 2147483647"),
    ({"seed": 1.5}, "seed", "invalid_type", "0 to 2147483647"),
    ({"seed": True}, "seed", "invalid_type", "0 to 2147483647"),
    ({"hyperparameters": 3}, "hyperparameters", "invalid_type", "must be an object"),
    ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", "invalid_value", "'auto' or a whole number"),
    ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs", "invalid_value", "from 1 to 50"),
    ({"hyperparameters": {"n_epochs": "x"}}, "hyperparameters.n_epochs", "invalid_value", "from 1 to 50"),
    ({"hyperparameters": {"n_epochs": 1.5}}, "hyperparameters.n_epochs", "invalid_type", "from 1 to 50"),
    ({"hyperparameters": {"batch_size": 0}}, "hyperparameters.batch_size", "invalid_value", "from 1 to 256"),
    ({"hyperparameters": {"batch_size": 257}}, "hyperparameters.batch_size", "invalid_value", "from 1 to 256"),
    (supervised(n_epochs=51), "method.supervised.hyperparameters.n_epochs", "invalid_value", "from 1 to 50"),
    *(
        (
            supervised(learning_rate_multiplier=wrong),
            "method.supervised.hyperparameters.learning_rate_multiplier",
            "invalid_value",
            "above 0",
        )
        for wrong in (0, -1, 0.0, -0.5, 1e9)
    ),
    *((dpo(beta=wrong), "method.dpo.hyperparameters.beta", "invalid_value", "at most 2") for wrong in (0, -1, 2.1)),
    (supervised(beta=1), "method.supervised.hyperparameters.beta", "unknown_parameter", "Leave out"),
    ({"metadata": {f"k{n}": "v" for n in range(17)}}, "metadata", "metadata_too_many_pairs", "16 are the most"),
    ({"metadata": {"k" * 65: "v"}}, "metadata", "metadata_key_too_long", "1 to 64"),
    ({"metadata": {"": "v"}}, "metadata", "metadata_key_empty", "1 to 64"),
    ({"metadata": {"k": "v" * 513}}, "metadata.k", "metadata_value_too_long", "512 are the most"),
    ({"metadata": {"k": 1}}, "metadata", "invalid_type", "values are strings"),
    ({"metadata": {"k": None}}, "metadata", "invalid_type", "values are strings"),
    ({"metadata": []}, "metadata", "invalid_type", "an object"),
    ({"metadata": "x"}, "metadata", "invalid_type", "an object"),
    ({"integrations": [WANDB] * 6}, "integrations", "invalid_value", "0 to 5"),
    ({"integrations": {}}, "integrations", "invalid_type", "a list"),
    ({"integrations": [{**WANDB, "type": "comet"}]}, "integrations[0].type", "invalid_value", "'wandb'"),
    ({"integrations": [{"type": "wandb"}]}, "integrations[0].wandb", "missing_required_parameter", "an object"),
    (
        {"integrations": [WANDB, {"type": "wandb", "wandb": {}}]},
        "integrations[1].wandb.project",
        "missing_required_parameter",
        "1 to 256 characters",
    ),
    ({"method": {}}, "method.type", "missing_required_parameter", "'supervised'"),
    ({"method": {"type": "magic"}}, "method.type", "invalid_value", "'supervised'"),
    ({"method": {"type": "dpo", "supervised": {}}}, "method.supervised", "conflicting_parameters", "'dpo'"),
    ({"method": {"type": "supervised", "dpo": {}}}, "method.dpo", "conflicting_parameters", "'supervised'"),
    ({"hyperparameters": {}, **supervised()}, "hyperparameters", "conflicting_parameters", "the current one"),
    (
        {"method": {"type": "reinforcement"}},
        "method.reinforcement.grader",
        "missing_required_parameter",
        "grader",
    ),
    (
        {"method": {"type": "reinforcement", "reinforcement": {}}},
        "method.reinforcement.grader",
        "missing_required_parameter",
        "an object",
    ),
    ({"n_epochs": 3}, "n_epochs", "unknown_parameter", "'n_epochs'"),
    ({"nope": 1, "hyperparameters": {"nor": 2}}, "nope", "unknown_parameter", "'nope', 'hyperparameters.nor'"),
    ({"priority": 101}, "priority", "invalid_value", "-100 to 100"),
    ({"quote_id": 5}, "quote_id", "invalid_type", "a string"),
]


class TestCreateJobFields:
    @pytest.mark.parametrize(("change", "param", "code", "says"), FIELDS, ids=lambda value: json.dumps(value)[:60])
    def test_breach(self, http: httpx2.Client, change: dict[str, Any], param: str, code: str, says: str) -> None:
        body = {"model": MODEL, "training_file": GOOD, **change}
        answer = http.post("/fine_tuning/jobs", content=json.dumps(body), headers={"content-type": "application/json"})
        error = refusal(answer)
        assert (answer.status_code, error["param"], error["code"]) == (400, param, code), error
        assert says in error["message"]
        assert error["type"] == "invalid_request_error"
        assert len(error["message"]) < 1000

    @pytest.mark.parametrize("missing", ["model", "training_file"])
    def test_missing(self, http: httpx2.Client, missing: str) -> None:
        body = {"model": MODEL, "training_file": GOOD}
        del body[missing]
        error = refusal(http.post("/fine_tuning/jobs", json=body))
        assert (error["param"], error["code"]) == (missing, "missing_required_parameter")

    @pytest.mark.parametrize(
        ("path", "change"),
        [
            ("model", {"model": "ft:\0"}),
            ("training_file", {"training_file": "file-\0"}),
            ("validation_file", {"validation_file": "\0"}),
            ("suffix", {"suffix": "a\0b"}),
            ("quote_id", {"quote_id": "\0"}),
            ("metadata.k", {"metadata": {"k": "\0"}}),
            ("metadata", {"metadata": {"\0": "v"}}),
            ("integrations[0].wandb.project", {"integrations": [{"type": "wandb", "wandb": {"project": "\0"}}]}),
            (
                "method.reinforcement.grader.a[0]",
                {"method": {"type": "reinforcement", "reinforcement": {"grader": {"a": ["\0"]}}}},
            ),
        ],
    )
    def test_the_character_that_cannot_be_stored(self, http: httpx2.Client, path: str, change: dict[str, Any]) -> None:
        answer = http.post("/fine_tuning/jobs", json={"model": MODEL, "training_file": GOOD, **change})
        error = refusal(answer)
        assert (answer.status_code, error["param"], error["code"]) == (400, path, "invalid_character")

    def test_an_escaped_backslash_before_u0000_is_just_text(self, http: httpx2.Client) -> None:
        body = b'{"model": "gpt-4o", "training_file": "file-\\\\u0000"}'
        answer = http.post("/fine_tuning/jobs", content=body, headers={"content-type": "application/json"})
        assert refusal(answer)["code"] == "file_not_found"

    @pytest.mark.parametrize("field", ["model", "training_file", "suffix", "quote_id"])
    @pytest.mark.parametrize("half", ["\ud800", "x\ud83dy", "\ude00\ud83d"])
    def test_half_a_surrogate_pair(self, http: httpx2.Client, field: str, half: str) -> None:
        body = json.dumps({"model": MODEL, "training_file": GOOD, field: half}).encode()
        answer = http.post("/fine_tuning/jobs", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, refusal(answer)["code"]) == (400, "invalid_character")


BODIES: list[tuple[bytes, int, str]] = [
    (b'{"model": ', 400, "invalid_json"),
    (b"{'model': 'x'}", 400, "invalid_json"),
    (b"[]", 400, "invalid_type"),
    (b'"text"', 400, "invalid_type"),
    (b"null", 400, "invalid_type"),
    (b"", 400, "missing_required_parameter"),
    (b"\xff\xfe{}", 400, "invalid_json"),
    (b'{"model": "\xff"}', 400, "invalid_json"),
    (b"\xef\xbb\xbf{}", 400, "invalid_json"),
    (b'{"seed": NaN}', 400, "invalid_json"),
    (b'{"seed": 1e999}', 400, "invalid_value"),
    (b'{"x": 1e999}', 400, "invalid_json"),
    (b"[" * 200_000, 400, "invalid_json"),
    (b'{"metadata":' * 50_000, 400, "invalid_json"),
    (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400, "invalid_json"),
    (b'{"a":"' + b"x" * 11_000_000 + b'"}', 413, "request_too_large"),
]


class TestBodies:
    @pytest.mark.parametrize("path", ["/fine_tuning/jobs", "/fine_tuning/quotes", "/webhook_endpoints"])
    @pytest.mark.parametrize(("body", "status", "code"), BODIES, ids=lambda value: str(value)[:30])
    def test_that_cannot_be_read(self, http: httpx2.Client, path: str, body: bytes, status: int, code: str) -> None:
        answer = http.post(path, content=body, headers={"content-type": "application/json"})
        error = refusal(answer)
        assert answer.status_code == status, error
        if path == "/fine_tuning/jobs":
            assert error["code"] == code, error

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
    @pytest.mark.parametrize("path", ["/fine_tuning/jobs", "/chat/completions"])
    def test_of_another_type(self, http: httpx2.Client, path: str, kind: str) -> None:
        answer = http.post(path, content=b"{}", headers={"content-type": kind})
        error = refusal(answer)
        assert (answer.status_code, error["code"]) == (400, "invalid_content_type")
        assert "Content-Type: application/json" in error["message"]

    def test_action_posts_take_an_empty_body_of_any_type(self, http: httpx2.Client) -> None:
        for headers in ({}, {"content-type": "application/json"}, {"content-type": "text/plain"}):
            answer = http.post("/fine_tuning/jobs/ftjob-none/cancel", content=b"", headers=headers)
            assert answer.status_code == 404
            refusal(answer)
        answer = http.post("/fine_tuning/jobs/ftjob-none/cancel", json={"why": "x"})
        assert refusal(answer)["param"] == "why"

    def test_of_a_field_given_twice_the_last_counts(self, http: httpx2.Client) -> None:
        body = b'{"model": "gpt-9", "model": "gpt-4o", "training_file": "file-x"}'
        answer = http.post("/fine_tuning/jobs", content=body, headers={"content-type": "application/json"})
        assert refusal(answer)["param"] == "training_file"

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            (b'{"hyperparameters": {"x": 1}, "hyperparameters": {}}', "hyperparameters.x"),
            (b'{"suffix": "\\u0000", "suffix": "x", "model": "gpt-4o", "training_file": "file-x"}', "training_file"),
            (b'{"suffix": "x", "suffix": "\\u0000", "model": "gpt-4o", "training_file": "file-x"}', "suffix"),
        ],
    )
    def test_even_where_the_first_is_wrong(self, http: httpx2.Client, body: bytes, param: str) -> None:
        answer = http.post("/fine_tuning/jobs", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, refusal(answer)["param"]) == (400, param)

    @pytest.mark.parametrize(
        "content", [b'{"model": "ft:\\u0000"}', b'{"model": ["x"]}', b"{}", b"[]", b"", b"5", b"{"]
    )
    @pytest.mark.parametrize("path", ["/chat/completions", "/completions"])
    def test_of_questions(self, http: httpx2.Client, path: str, content: bytes) -> None:
        answer = http.post(path, content=content, headers={"content-type": "application/json"})
        refusal(answer)
        assert answer.status_code in (400, 404)


QUERIES: list[tuple[str, str, str]] = [
    ("/fine_tuning/jobs?limit=0", "limit", "invalid_value"),
    ("/fine_tuning/jobs?limit=101", "limit", "invalid_value"),
    ("/fine_tuning/jobs?limit=x", "limit", "invalid_type"),
    ("/fine_tuning/jobs?limit=", "limit", "invalid_type"),
    ("/fine_tuning/jobs?limit=1e2x", "limit", "invalid_type"),
    ("/fine_tuning/jobs?limit=null", "limit", "invalid_type"),
    ("/fine_tuning/jobs?limit=1&limit=2", "limit", "invalid_value"),
    ("/fine_tuning/jobs?after=ftjob-none", "after", "invalid_cursor"),
    ("/fine_tuning/jobs?after=", "after", "invalid_cursor"),
    ("/fine_tuning/jobs?after=null", "after", "invalid_cursor"),
    ("/fine_tuning/jobs?after=%00", "after", "invalid_character"),
    ("/fine_tuning/jobs?state=running", "state", "unknown_parameter"),
    ("/fine_tuning/jobs?%00=x", "\0", "invalid_character"),
    ("/fine_tuning/jobs?metadata=x", "metadata", "invalid_value"),
    ("/fine_tuning/jobs?metadata[a=x", "metadata[a", "invalid_value"),
    ("/fine_tuning/jobs?metadata[a]=x&metadata[a]=y", "metadata[a]", "invalid_value"),
    ("/fine_tuning/jobs?metadata[a]=x&metadata=null", "metadata", "invalid_value"),
    ("/fine_tuning/jobs?metadata[a]=%00", "metadata[a]", "invalid_character"),
    ("/files?limit=10001", "limit", "invalid_value"),
    ("/files?order=up", "order", "invalid_value"),
    ("/files?purpose=evals", "purpose", "invalid_value"),
    ("/files?purpose=null", "purpose", "invalid_value"),
    ("/files?purpose=%00", "purpose", "invalid_character"),
    ("/files?after=file-none", "after", "invalid_cursor"),
    ("/files/file-none?x=1", "x", "unknown_parameter"),
    ("/files/file-none/report?model=gpt-9", "model", "model_not_found"),
    ("/files/file-none/report?model=%00", "model", "invalid_character"),
    ("/models?limit=1", "limit", "unknown_parameter"),
    ("/fine_tuning/jobs/ftjob-none/events?limit=0", "limit", "invalid_value"),
    ("/fine_tuning/jobs/ftjob-none/events?stream=perhaps", "stream", "invalid_type"),
    ("/fine_tuning/jobs/ftjob-none/checkpoints?limit=101", "limit", "invalid_value"),
    ("/fine_tuning/jobs/ftjob-none/metrics?format=xml", "format", "invalid_value"),
    ("/fine_tuning/jobs/ftjob-none/timeline?x=1", "x", "unknown_parameter"),
]


class TestQueries:
    @pytest.mark.parametrize(("path", "param", "code"), QUERIES)
    def test_breach(self, http: httpx2.Client, path: str, param: str, code: str) -> None:
        answer = http.get(path)
        error = refusal(answer)
        assert (answer.status_code, error["param"], error["code"]) == (400, param, code), error

    @pytest.mark.parametrize("list_of", ["events", "checkpoints"])
    def test_a_cursor_of_another_list(self, http: httpx2.Client, list_of: str) -> None:
        file_id = upload(http, jsonl(chat_rows(10)))
        job = http.post("/fine_tuning/jobs", json={"model": MODEL, "training_file": file_id}).json()["id"]
        for after in (job, "ftevent-x", "ftckpt-x"):
            answer = http.get(f"/fine_tuning/jobs/{job}/{list_of}", params={"after": after})
            assert (answer.status_code, refusal(answer)["code"]) == (400, "invalid_cursor")
        http.post(f"/fine_tuning/jobs/{job}/cancel")


class TestRoutes:
    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("GET", "/nope", 404, "unknown_url"),
            ("POST", "/fine_tuning/job", 404, "unknown_url"),
            ("GET", "/files/a/b/c", 404, "unknown_url"),
            ("GET", "/files/..%2F..%2Fetc%2Fpasswd", 404, "unknown_url"),
            ("GET", "/files/%00", 404, "unknown_url"),
            ("DELETE", "/files/%00", 404, "unknown_url"),
            ("POST", "/fine_tuning/jobs/%00/cancel", 404, "unknown_url"),
            ("GET", "/models/%00", 404, "unknown_url"),
            ("GET", "/webhook_endpoints/%00", 404, "unknown_url"),
            ("GET", "/files/%FF%FE", 404, "file_not_found"),
            ("GET", "/files/%ED%A0%80", 404, "file_not_found"),
            ("GET", "/files/" + "x" * 8000, 404, "file_not_found"),
            ("GET", "/fine_tuning/jobs/%F0%9F%92%A9", 404, "fine_tune_not_found"),
            ("GET", "/models/nope", 404, "model_not_found"),
            ("DELETE", "/fine_tuning/jobs", 405, "method_not_allowed"),
            ("PUT", "/files/x", 405, "method_not_allowed"),
            ("PATCH", "/files", 405, "method_not_allowed"),
            ("POST", "/models", 405, "method_not_allowed"),
            ("POST", "/fine-tunes", 404, "endpoint_shut_down"),
            ("GET", "/fine-tunes/ft-1/events", 404, "endpoint_shut_down"),
        ],
    )
    def test_that_are_none(self, http: httpx2.Client, method: str, path: str, status: int, code: str) -> None:
        answer = http.request(method, path)
        error = refusal(answer)
        assert (answer.status_code, error["code"]) == (status, code)
        if status == 405:
            assert answer.headers["allow"]
        if code == "endpoint_shut_down":
            assert "/v1/fine_tuning/jobs" in error["message"]

    def test_ids_are_repeated_as_received(self, http: httpx2.Client) -> None:
        reported = refusal(http.get("/files/file-%22%0D%0Aset-cookie:%20a=b"))
        assert reported["message"] == 'No such File object: file-"\r\nset-cookie: a=b'


class TestUploadForms:
    @pytest.mark.parametrize(
        ("fields", "param", "code"),
        [
            ({}, "purpose", "missing_required_parameter"),
            ({"purpose": "evals"}, "purpose", "invalid_purpose"),
            ({"purpose": "fine-tune-results"}, "purpose", "invalid_purpose"),
            ({"purpose": "\0"}, "purpose", "invalid_purpose"),
            ({"purpose": ""}, "purpose", "invalid_purpose"),
            ({"purpose": "fine-tune", "colour": "red"}, "colour", "unknown_parameter"),
            ({"purpose": "vision", "expires_after[anchor]": "now"}, "expires_after.anchor", "invalid_value"),
            (
                {"purpose": "vision", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
                "expires_after.seconds",
                "invalid_value",
            ),
            ({"purpose": "vision", "expires_after[anchor]": "created_at"}, "expires_after.seconds", "invalid_value"),
            ({"purpose": "vision", "expires_after[seconds]": "3600"}, "expires_after.anchor", "invalid_value"),
        ],
    )
    def test_fields(self, http: httpx2.Client, fields: dict[str, str], param: str, code: str) -> None:
        answer = http.post("/files", data=fields, files={"file": ("a", b"x")})
        error = refusal(answer)
        assert (answer.status_code, error["param"], error["code"]) == (400, param, code)

    def test_without_a_file(self, http: httpx2.Client) -> None:
        body = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b--\r\n'
        answer = http.post("/files", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
        assert (refusal(answer)["param"], refusal(answer)["code"]) == ("file", "missing_required_parameter")

    @pytest.mark.parametrize(
        ("kind", "body", "code"),
        [
            ("application/json", b"{}", "invalid_content_type"),
            ("multipart/form-data", b"x", "invalid_content_type"),
            ("multipart/form-data; boundary=b", b"", "invalid_multipart"),
            ("multipart/form-data; boundary=b", b"nothing of the kind", "invalid_multipart"),
            ("multipart/form-data; boundary=b", b"--b\r\nx\r\n", "invalid_multipart"),
            (
                "multipart/form-data; boundary=b",
                b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\ncut',
                "invalid_multipart",
            ),
            ("multipart/form-data; boundary=b", b"--b\r\ncontent-disposition: form-data\r\n\r\nx\r\n--b--\r\n", None),
            ("multipart/form-data; boundary=" + "b" * 300, b"x", None),
            (
                "multipart/form-data; boundary=b",
                b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n' + b"x" * 70_000 + b"\r\n--b--\r\n",
                "invalid_value",
            ),
            (
                "multipart/form-data; boundary=b",
                b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n\xff\r\n--b--\r\n',
                "invalid_value",
            ),
            (
                "multipart/form-data; boundary=b",
                b'--b\r\ncontent-disposition: form-data; name="x"\r\n\r\n\r\n' * 70 + b"--b--\r\n",
                None,
            ),
            (
                "multipart/form-data; boundary=b",
                b'--b\r\ncontent-disposition: form-data; name="\xff\0"\r\n\r\nx\r\n--b--\r\n',
                None,
            ),
        ],
    )
    def test_bodies(self, http: httpx2.Client, kind: str, body: bytes, code: str | None) -> None:
        answer = http.post("/files", content=body, headers={"content-type": kind})
        error = refusal(answer)
        assert answer.status_code == 400
        if code is not None:
            assert error["code"] == code, error


@pytest.fixture(scope="module")
def files(http: httpx2.Client, tenant: Tenant) -> dict[str, str]:
    """Files of every kind, checked."""
    made = {
        "chat": upload(http, jsonl(chat_rows(10))),
        "completion": upload(http, jsonl(completion_rows(10))),
        "preference": upload(http, jsonl(preference_rows(10))),
        "nine": upload(http, jsonl(chat_rows(9))),
        "faulty": upload(http, b'{"messages": 1}\n' * 2 + jsonl(chat_rows(10))),
        "stored": upload(http, b"x", purpose="user_data"),
        "deleted": upload(http, jsonl(chat_rows(10))),
    }
    for kind in ("chat", "completion", "preference", "nine", "faulty"):
        checked(http, made[kind])
    eventually(lambda: http.delete(f"/files/{made['deleted']}").status_code == 200)  # its report may be being made
    other = new_tenant(tenant.base_url, tenant.database_url)
    with other.http() as client:
        made["foreign"] = upload(client, jsonl(chat_rows(10)))
    return made


class TestFilesOfAJob:
    @pytest.mark.parametrize("path", ["/fine_tuning/jobs", "/fine_tuning/quotes"])
    @pytest.mark.parametrize(
        ("file", "change", "code", "says"),
        [
            ("stored", {}, "wrong_purpose", "purpose 'fine-tune'"),
            ("deleted", {}, "file_not_found", "Upload it"),
            ("foreign", {}, "file_not_found", "Upload it"),
        ],
    )
    @pytest.mark.parametrize("param", ["training_file", "validation_file"])
    def test_that_cannot_be_used_at_all(
        self,
        http: httpx2.Client,
        files: dict[str, str],
        path: str,
        file: str,
        change: dict[str, Any],
        code: str,
        says: str,
        param: str,
    ) -> None:
        body = {"model": MODEL, "training_file": files["chat"], **change, param: files[file]}
        answer = http.post(path, json=body)
        error = refusal(answer)
        assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
        assert says in error["message"]

    @pytest.mark.parametrize(
        ("file", "change", "code", "says"),
        [
            ("faulty", {}, "invalid_training_file", "line 1"),
            ("nine", {}, "invalid_training_file", "at least 10"),
            ("completion", {}, "invalid_file_format", "needs: chat"),
            ("preference", {}, "invalid_file_format", "needs: chat"),
            ("chat", {"model": "davinci-002"}, "invalid_file_format", "needs: completion"),
            ("chat", {"method": {"type": "dpo"}}, "invalid_file_format", "needs: preference"),
        ],
    )
    def test_whose_content_does_not_fit(
        self, http: httpx2.Client, files: dict[str, str], file: str, change: dict[str, Any], code: str, says: str
    ) -> None:
        body = {"model": MODEL, "training_file": files[file], **change}
        eventually(lambda: http.post("/fine_tuning/quotes", json=body).status_code != 409)  # another encoding
        answer = http.post("/fine_tuning/jobs", json=body)
        error = refusal(answer)
        assert (answer.status_code, error["param"], error["code"]) == (400, "training_file", code), error
        assert says in error["message"].lower()

    def test_validation_data_with_errors(self, http: httpx2.Client, files: dict[str, str]) -> None:
        body = {"model": MODEL, "training_file": files["chat"], "validation_file": files["faulty"]}
        error = refusal(http.post("/fine_tuning/jobs", json=body))
        assert (error["param"], error["code"]) == ("validation_file", "invalid_validation_file")
        assert "line 1" in error["message"].lower()

    def test_another_project_s_file_answers_as_one_that_never_was(
        self, http: httpx2.Client, files: dict[str, str]
    ) -> None:
        for path, body in (("/fine_tuning/jobs", True), ("/fine_tuning/quotes", True), ("/files/{}", False)):
            answers = []
            for file_id in (files["foreign"], "file-" + "0" * 26):
                if body:
                    answer = http.post(path, json={"model": MODEL, "training_file": file_id})
                else:
                    answer = http.get(path.format(file_id))
                answers.append((answer.status_code, answer.text.replace(file_id, "ID")))
            assert answers[0] == answers[1]

    def test_methods_that_the_model_has_not(self, http: httpx2.Client, files: dict[str, str]) -> None:
        body = {"model": "gpt-3.5-turbo", "training_file": files["preference"], "method": {"type": "dpo"}}
        error = refusal(http.post("/fine_tuning/jobs", json=body))
        assert (error["param"], error["code"]) == ("method.type", "unsupported_method")

    def test_quotes_that_do_not_exist(self, http: httpx2.Client, files: dict[str, str]) -> None:
        body = {"model": MODEL, "training_file": files["chat"], "quote_id": "quote_none"}
        assert refusal(http.post("/fine_tuning/jobs", json=body))["code"] == "quote_not_found"

    def test_report_of_a_file_that_is_no_training_data(self, http: httpx2.Client, files: dict[str, str]) -> None:
        answer = http.get(f"/files/{files['stored']}/report")
        assert (answer.status_code, refusal(answer)["code"]) == (400, "wrong_purpose")


class TestStates:
    def test_of_a_job(self, http: httpx2.Client) -> None:
        file_id = upload(http, jsonl(chat_rows(120)))  # fifty epochs of it take two minutes
        body = {"model": MODEL, "training_file": file_id, "hyperparameters": {"n_epochs": 50}}
        job = http.post("/fine_tuning/jobs", json=body).json()["id"]
        in_use = http.delete(f"/files/{file_id}")
        error = refusal(in_use)
        assert (in_use.status_code, error["code"], in_use.headers["x-should-retry"]) == (409, "file_in_use", "false")
        assert job in error["message"]
        assert http.post(f"/fine_tuning/jobs/{job}/cancel").status_code == 200
        eventually(lambda: http.get(f"/fine_tuning/jobs/{job}").json()["status"] == "cancelled")
        assert http.post(f"/fine_tuning/jobs/{job}/cancel").status_code == 200
        for action, code in (("pause", "job_not_pausable"), ("resume", "job_not_resumable")):
            answer = http.post(f"/fine_tuning/jobs/{job}/{action}")
            assert (answer.status_code, refusal(answer)["code"]) == (400, code)

    def test_cancel_of_an_ended_job(self, http: httpx2.Client) -> None:
        body = {"model": OTHER_ENCODING, "training_file": upload(http, b"no json\n" * 12)}
        job = http.post("/fine_tuning/jobs", json=body).json()["id"]
        eventually(lambda: http.get(f"/fine_tuning/jobs/{job}").json()["status"] == "failed")
        answer = http.post(f"/fine_tuning/jobs/{job}/cancel")
        assert (answer.status_code, refusal(answer)["code"]) == (400, "job_not_cancellable")


class TestKeys:
    @pytest.mark.parametrize(
        ("value", "code"),
        [
            (None, "missing_api_key"),
            (b"", "missing_api_key"),
            (b"Bearer", "missing_api_key"),
            (b"Basic dXNlcjpwYXNz", "missing_api_key"),
            (b"Bearer sk-proj-of-openai", "invalid_api_key"),
            (b"Bearer \xc3\xa9\xff", "invalid_api_key"),
            (b"Bearer tg_live_" + b"0" * 36, "invalid_api_key"),
            (b"Bearer tg_live_" + b"0" * 9000, "invalid_api_key"),
        ],
    )
    def test_that_are_none(self, tenant: Tenant, value: bytes | None, code: str) -> None:
        headers = {} if value is None else {b"authorization": value}
        for path in ("/files", "/fine_tuning/jobs", "/models"):
            answer = httpx2.get(tenant.base_url + path, headers=headers, timeout=90)
            error = refusal(answer)
            assert (answer.status_code, error["code"], error["param"]) == (401, code, None)

    @pytest.mark.parametrize("kind", ["project", "admin"])
    def test_of_good_form_that_nobody_gave_out(self, tenant: Tenant, kind: KeyKind) -> None:
        headers = {"authorization": f"Bearer {new_key(kind)}"}
        answer = httpx2.get(tenant.base_url + "/files", headers=headers, timeout=90)
        assert (answer.status_code, refusal(answer)["code"]) == (401, "invalid_api_key")

    def test_admin_keys_reach_no_project_resource(self, stack: DevStack) -> None:
        ready = stack.ready()
        headers = {"authorization": f"Bearer {ready['admin_key']}"}
        answer = httpx2.get(ready["base_url"] + "/files", headers=headers, timeout=90)
        assert (answer.status_code, refusal(answer)["code"]) == (403, "insufficient_permissions")

    @pytest.mark.parametrize("end", ["revoked_at = now()", "expires_at = now()"])
    def test_end_within_a_second(self, tenant: Tenant, end: str) -> None:
        other = new_tenant(tenant.base_url, tenant.database_url)

        async def end_key() -> None:
            db = Database(create_engine(other.database_url, pool_size=1), Wakeups(""))
            async with db.admin() as session:
                await session.execute(
                    text(f"UPDATE api_keys SET {end} WHERE sha256 = :hash"), {"hash": fingerprint(other.key)}
                )
            await db.close()

        with other.http() as http:
            assert http.get("/files").status_code == 200
            run_async(end_key())
            answer = eventually(
                lambda: found if (found := http.get("/files")).status_code != 200 else None,
                every_seconds=0.05,
            )
        assert (answer.status_code, refusal(answer)["code"]) == (401, "invalid_api_key")
