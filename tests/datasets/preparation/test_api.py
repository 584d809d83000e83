"""`/v1/dataset_preparations`: what it takes and refuses, and what workers make of it."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from service.database import leases
from service.database.tables import DatasetPreparation, FileReport
from service.settings import Settings
from tests.http.fixtures import Api
from tests.stack import ROOT
from tests.wire import refusal
from tests.workers.harness import open_context
from workers.context import Context
from workers.datasets import preparation
from workers.datasets import report as datasets

EXAMPLES = ROOT / "examples/function-calling"
ROWS = "".join(f"Größe {number}?;Sie ist {number}.;x\n" for number in range(40))


async def put(
    http: httpx2.AsyncClient,
    content: bytes = b"question,answer\na,b\n",
    *,
    purpose: str = "user_data",
    name: str = "a.csv",
) -> str:
    """Upload a file: its id."""
    answer = await http.post("/files", data={"purpose": purpose}, files={"file": (name, content)})
    file_id: str = answer.json()["id"]
    return file_id


class TestCreate:
    async def test_answers_at_once_with_what_was_understood(self, api: Api) -> None:
        async with api.http() as http:
            file_id = await put(http)
            body = {"file": file_id, "columns": {"prompt": "question"}, "split": {"validation_share": 0.2}}
            made = (await http.post("/dataset_preparations", json=body)).json()
            assert made == (await http.get(f"/dataset_preparations/{made['id']}")).json()
        assert made["id"].startswith("prep_")
        assert (made["object"], made["status"], made["progress"]) == ("dataset_preparation", "pending", 0.0)
        assert (made["input_file"], made["training_file"], made["error"], made["changes"]) == (file_id, None, None, {})
        assert made["options"]["columns"] == {"prompt": "question", "answer": None, "system": None}
        assert made["options"]["split"] == {"validation_share": 0.2, "validation_examples": None, "seed": 0}
        assert "drop_duplicates" in made["options"]["fixes"]

    async def test_once_however_often_it_arrives(self, api: Api) -> None:
        async with api.http() as http:
            body = {"file": await put(http)}
            answers = [
                await http.post("/dataset_preparations", json=body, headers={"idempotency-key": "k"}) for _ in range(2)
            ]
            assert answers[0].content == answers[1].content
            listed = (await http.get("/dataset_preparations")).json()["data"]
        assert len(listed) == 1

    @pytest.mark.parametrize(
        ("body", "code", "param"),
        [
            ({}, "missing_required_parameter", "file"),
            ({"file": "file-none"}, "file_not_found", "file"),
            ({"model": "gpt-0"}, "model_not_found", "model"),
            ({"fixes": ["strip_boom"]}, "unknown_fix", "fixes"),
            ({"fixes": "all"}, "unknown_fix", "fixes"),
            ({"fixes": ["safe", "-strip_bom"]}, "conflicting_parameters", "fixes"),
            ({"fixes": 7}, "invalid_type", "fixes"),
            ({"tool_definitions": "none"}, "invalid_value", "tool_definitions"),
            ({"target_format": "preference"}, "invalid_value", "target_format"),
            ({"columns": {"question": "a"}}, "unknown_parameter", "columns.question"),
            ({"delimiter": "ab"}, "invalid_value", "delimiter"),
            ({"shape": "zzz"}, "invalid_value", "shape"),
            ({"encoding": "klingon"}, "invalid_value", "encoding"),
            ({"prompt_template": "{"}, "invalid_value", "prompt_template"),
            ({"split": {}}, "conflicting_parameters", "split"),
            ({"split": {"validation_share": 0.1, "validation_examples": 1}}, "conflicting_parameters", "split"),
            ({"split": {"validation_share": 1}}, "invalid_value", "split.validation_share"),
            ({"split": {"validation_examples": 0}}, "invalid_value", "split.validation_examples"),
        ],
    )
    async def test_what_makes_no_sense_is_refused_with_its_field(
        self, api: Api, body: dict[str, Any], code: str, param: str
    ) -> None:
        async with api.http() as http:
            known = {"file": await put(http)} if body and "file" not in body else {}
            answer = await http.post("/dataset_preparations", json=known | body)
        assert answer.status_code == 400
        error = refusal(answer)
        assert (error["code"], error["param"]) == (code, param)

    async def test_only_of_training_data_and_user_data(self, api: Api) -> None:
        async with api.http() as http:
            for purpose, status in (("fine-tune", 200), ("user_data", 200), ("vision", 400)):
                answer = await http.post("/dataset_preparations", json={"file": await put(http, purpose=purpose)})
                assert answer.status_code == status
            assert refusal(answer)["code"] == "wrong_purpose"


class TestCancel:
    async def test_ends_it_at_once_and_again_is_fine(self, api: Api) -> None:
        async with api.http() as http:
            made = (await http.post("/dataset_preparations", json={"file": await put(http)})).json()
            for _ in range(2):
                answer = await http.post(f"/dataset_preparations/{made['id']}/cancel")
                assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
            assert answer.json()["finished_at"] >= made["created_at"]
            changes = (await http.get(f"/dataset_preparations/{made['id']}/changes")).json()
            assert (changes["data"], changes["has_more"]) == ([], False)

    async def test_of_one_that_has_ended_is_refused(self, api: Api) -> None:
        async with api.http() as http:
            made = (await http.post("/dataset_preparations", json={"file": await put(http)})).json()
            async with api.rows() as session:
                failed = {"status": "failed", "error_code": "x", "finished_at": DatasetPreparation.created_at}
                await session.execute(update(DatasetPreparation).values(due_at=None, **failed))
            answer = await http.post(f"/dataset_preparations/{made['id']}/cancel")
        assert (answer.status_code, refusal(answer)["code"]) == (400, "preparation_not_cancellable")


async def test_another_project_s_is_as_one_that_never_was(api: Api) -> None:
    async with api.http() as http, api.http(api.other) as other:
        file_id = await put(http)
        made = (await http.post("/dataset_preparations", json={"file": file_id})).json()
        path = f"/dataset_preparations/{made['id']}"
        for method, address in (("GET", path), ("POST", f"{path}/cancel"), ("GET", f"{path}/changes")):
            answer = await other.request(method, address)
            unknown = await other.request(method, address.replace(made["id"], "prep_none"))
            assert (answer.status_code, refusal(answer)["code"]) == (404, "dataset_preparation_not_found")
            assert answer.text.replace(made["id"], "prep_none") == unknown.text
        assert (await other.get("/dataset_preparations")).json()["data"] == []
        assert (await other.get("/dataset_preparations", params={"file": file_id})).json()["data"] == []
        refused = await other.post("/dataset_preparations", json={"file": file_id})
        assert refusal(refused)["code"] == "file_not_found"
        assert refusal(await http.get("/dataset_preparations?after=prep_none"))["code"] == "invalid_cursor"


@pytest.fixture
async def worker(gateway: tuple[Settings, str]) -> AsyncIterator[Context]:
    """A worker's context at that API's database and storage."""
    async with open_context(dataclasses.replace(gateway[0], redis_url="")) as ctx:
        yield ctx


async def work(ctx: Context, project_id: str) -> None:
    """Do what is due for a project: preparations, then the reports of what they made."""
    for table, step in ((DatasetPreparation, preparation.prepare), (FileReport, datasets.validate)):
        async with ctx.db.worker() as session:
            where = [table.project_id == project_id]
            claimed: list[Any] = await leases.claim(session, table, lease_seconds=60.0, limit=10, where=where)
        for each in claimed:
            await step(ctx, each)


async def test_a_table_becomes_files_that_a_job_can_train_on(api: Api, worker: Context) -> None:
    async with api.http() as http:
        content = f"question;answer;note\n{ROWS}Größe 1?;Sie ist 1.;y\n".encode("cp1252")
        input_file = await put(http, content, name="größen.csv")
        body = {
            "file": input_file,
            "system_prompt": "Antworte kurz.",
            "split": {"validation_share": 0.25, "seed": 3},
        }
        made = await prepared(http, worker, api, body)
        assert (made["status"], made["error"], made["progress"]) == ("succeeded", None, 1.0)
        assert (made["rows_in"], made["rows_out"], made["validation_rows"]) == (41, 40, 10)
        options = made["options"]
        assert (options["input_format"], options["encoding"], options["target_format"]) == (
            "csv",
            "windows-1252",
            "chat",
        )
        assert options["columns"] == {"prompt": "question", "answer": "answer", "system": None}
        assert options["guessed_columns"] == ["prompt", "answer"]
        changes = {"drop_duplicates": 1, "reencode_utf8": 41, "system_prompt": 41, "table_to_jsonl": 1}
        assert made["changes"] == changes
        assert made["rows_dropped"] == {"drop_duplicates": 1}
        for key, name, rows in (("training_file", "train", 30), ("validation_file", "valid", 10)):
            file = (await http.get(f"/files/{made[key]}")).json()
            assert (file["purpose"], file["status"]) == ("fine-tune", "processed")
            assert file["filename"] == f"größen_prepared_{name}.jsonl"
            report = (await http.get(f"/files/{made[key]}/report")).json()
            assert (report["examples"], report["errors"]) == (rows, 0)
        for file_id in (input_file, made["training_file"], made["validation_file"]):
            listed = (await http.get("/dataset_preparations", params={"file": file_id})).json()["data"]
            assert listed == [made]
        assert (await http.get(f"/files/{input_file}/content")).content == content
        await _walk_changes(http, made)


@pytest.mark.parametrize(
    "parameter",
    [
        "filename*=utf-8''Ausk%C3%BCnfte.csv",
        'filename="=?utf-8?B?QXVza8O8bmZ0ZS5jc3Y=?="',
        "filename*=iso-8859-1'de'Ausk%FCnfte.csv",
    ],
    ids=["requests", ".NET", "Latin-1"],
)
async def test_a_table_is_one_by_its_name_however_a_client_sends_it(api: Api, worker: Context, parameter: str) -> None:
    """One column is no table by its content: as text, its header would be trained as an answer."""
    field = '--b\r\ncontent-disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
    content = field.format("purpose", "", "user_data") + field.format("file", f"; {parameter}", "answer\nYes.\nNo.\n")
    async with api.http() as http:
        headers = {"content-type": "multipart/form-data; boundary=b"}
        file = await http.post("/files", content=f"{content}--b--\r\n", headers=headers)
        assert file.json()["filename"] == "Auskünfte.csv"
        made = await prepared(http, worker, api, {"file": file.json()["id"], "target_format": "completion"})
    assert (made["status"], made["rows_in"], made["options"]["input_format"]) == ("succeeded", 2, "csv"), made


async def _walk_changes(http: httpx2.AsyncClient, made: dict[str, Any]) -> None:
    path = f"/dataset_preparations/{made['id']}/changes"
    seen: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = (await http.get(path, params={"limit": 10, **after})).json()
        seen += page["data"]
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    assert len(seen) == len({change["id"] for change in seen}) == sum(made["changes"].values())
    (duplicate,) = [change for change in seen if change["fix"] == "drop_duplicates"]
    assert (duplicate["line"], duplicate["action"], duplicate["after"], duplicate["reason"]) == (
        42,
        "dropped",
        None,
        "The same as line 3.",
    )
    (reencoded,) = [change for change in seen if change["fix"] == "reencode_utf8" and change["line"] == 2]
    assert "Größe 0?" in reencoded["after"]
    for wrong in ("change-000000000001", "change-fffffffffff0", "change-1", "x"):
        assert refusal(await http.get(path, params={"after": wrong}))["code"] == "invalid_cursor"


async def test_shorter_definitions_tell_what_they_save(api: Api, worker: Context) -> None:
    async with api.http() as http:
        input_file = await put(http, (EXAMPLES / "train.jsonl").read_bytes(), name="train.jsonl", purpose="fine-tune")
        made = await prepared(http, worker, api, {"file": input_file, "tool_definitions": "without_parameters"})
        assert (made["status"], made["options"]["tool_definitions"]) == ("succeeded", "without_parameters")
        report = (await http.get(f"/files/{made['training_file']}/report")).json()
    tokens = made["definition_tokens"]
    assert tokens["after"] == report["tokens"]["definitions"]
    assert tokens["saved"] == tokens["before"] - tokens["after"] > 0


async def test_a_file_that_cannot_be_prepared_says_why(api: Api, worker: Context) -> None:
    async with api.http() as http:
        made = await prepared(http, worker, api, {"file": await put(http, b"foo,bar\n1,2\n")})
    assert (made["status"], made["training_file"]) == ("failed", None)
    assert (made["error"]["code"], made["error"]["param"]) == ("columns_not_guessed", "columns")
    assert "`foo`, `bar`" in made["error"]["message"]


async def prepared(http: httpx2.AsyncClient, worker: Context, api: Api, body: dict[str, Any]) -> dict[str, Any]:
    """A new preparation once it has ended."""
    made = (await http.post("/dataset_preparations", json=body)).json()
    await work(worker, api.one.project_id)
    shown: dict[str, Any] = (await http.get(f"/dataset_preparations/{made['id']}")).json()
    return shown
