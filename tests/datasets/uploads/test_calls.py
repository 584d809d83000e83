"""`/v1/uploads` call by call: what it answers, what it refuses, and what is left afterwards."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai.types import Upload as SdkUpload
from openai.types.uploads import UploadPart as SdkPart
from pydantic import TypeAdapter

from tests.datasets.uploads.calls import HOUR, NOTHING, ONE_FILE, age, announce, cancel, code_of, complete, counts, send
from tests.datasets.uploads.conftest import MAX_UPLOAD_BYTES
from tests.http.fixtures import Api
from tests.wire import refusal

GOOD = {"bytes": 10, "filename": "../d/a.jsonl", "mime_type": "application/jsonl", "purpose": "fine-tune"}


class TestCreate:
    async def test_is_the_sdks_upload(self, api: Api) -> None:
        async with api.http() as http:
            answer = await http.post("/uploads", json=GOOD)
        made = TypeAdapter(SdkUpload).validate_json(answer.content, strict=True)
        assert made.id.startswith("upload_")
        assert (made.filename, made.bytes, made.purpose, made.status) == ("a.jsonl", 10, "fine-tune", "pending")
        assert (made.expires_at - made.created_at, made.file) == (3600, None)

    @pytest.mark.parametrize(
        ("change", "param", "code"),
        [
            ({"bytes": 0}, "bytes", "invalid_value"),
            ({"bytes": "10"}, "bytes", "invalid_type"),
            ({"purpose": "evals"}, "purpose", "invalid_purpose"),
            ({"filename": ""}, "filename", "invalid_value"),
            ({"mime_type": ""}, "mime_type", "invalid_value"),
            ({"sha256": "x"}, "sha256", "unknown_parameter"),
            ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after.anchor", "invalid_value"),
            ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "expires_after.seconds", "invalid_value"),
        ],
    )
    async def test_refuses_and_names_the_field(
        self, api: Api, change: dict[str, object], param: str, code: str
    ) -> None:
        async with api.http() as http:
            answer = await http.post("/uploads", json=GOOD | change)
        assert code_of(answer) == code
        assert refusal(answer)["param"] == param

    async def test_refuses_what_is_over_the_limit(self, api: Api) -> None:
        async with api.http() as http:
            assert (await http.post("/uploads", json=GOOD | {"bytes": MAX_UPLOAD_BYTES})).status_code == 200
            over = await http.post("/uploads", json=GOOD | {"bytes": MAX_UPLOAD_BYTES + 1})
        assert code_of(over, 413) == "file_too_large"
        assert "200,000,000" in refusal(over)["message"]

    async def test_repeated_by_key_makes_one(self, api: Api) -> None:
        async with api.http() as http:
            first, second = [await http.post("/uploads", json=GOOD, headers={"idempotency-key": "k"}) for _ in range(2)]
        assert first.json() == second.json()


class TestParts:
    async def test_is_the_sdks_part(self, api: Api) -> None:
        async with api.http() as http:
            upload_id = await announce(http, 3)
            answer = await http.post(f"/uploads/{upload_id}/parts", files={"data": ("part", b"abc")})
        part = TypeAdapter(SdkPart).validate_json(answer.content, strict=True)
        assert (part.object, part.upload_id) == ("upload.part", upload_id)

    async def test_a_repetition_by_the_sdk_makes_one(self, api: Api) -> None:
        async with api.http() as http:
            upload_id = await announce(http, 6)
            answers = [
                await http.post(
                    f"/uploads/{upload_id}/parts",
                    files={"data": ("part", b"abc")},
                    headers={"x-stainless-retry-count": retry},
                )
                for retry in ("0", "1", "0")
            ]
        first, again, another = [answer.json()["id"] for answer in answers]
        assert first == again != another
        assert await counts(api) == NOTHING | {"upload_parts": 2, "objects": 2}

    async def test_refused_leave_nothing(self, api: Api) -> None:
        async with api.http() as http:
            upload_id = await announce(http, 200_000_000)
            path = f"/uploads/{upload_id}/parts"
            empty = await http.post(path, files={"data": ("part", b"")})
            assert (code_of(empty), refusal(empty)["param"]) == ("invalid_value", "data")
            other_field = await http.post(path, files={"file": ("part", b"abc")})
            assert code_of(other_field) == "unknown_parameter"
            extra = await http.post(path, data={"purpose": "x"}, files={"data": ("part", b"abc")})
            assert (code_of(extra), refusal(extra)["param"]) == ("unknown_parameter", "purpose")
            late = b'--b\r\ncontent-disposition: form-data; name="data"; filename="p"\r\n\r\nabc\r\n'
            late += b'--b\r\ncontent-disposition: form-data; name="md5"\r\n\r\nx\r\n--b--\r\n'
            kind = {"content-type": "multipart/form-data; boundary=b"}
            assert code_of(await http.post(path, content=late, headers=kind)) == "unknown_parameter"
            assert code_of(await http.post(path, content=late[:-8], headers=kind)) == "invalid_multipart"
            assert code_of(await http.post(path, content=b"--b--\r\n", headers=kind)) == "missing_required_parameter"
            assert code_of(await http.post(path, json={"data": "abc"})) == "invalid_content_type"
            over = await http.post(path, files={"data": ("part", bytes(64 * 1024 * 1024 + 1))})
            assert (code_of(over, 413), refusal(over)["param"]) == ("file_too_large", "data")
            assert await counts(api) == NOTHING

    async def test_may_be_sent_again_but_not_without_end(self, api: Api) -> None:
        async with api.http() as http:
            upload_id = await announce(http, 3)
            parts = [await send(http, upload_id, b"abc") for _ in range(2)]
            third = await http.post(f"/uploads/{upload_id}/parts", files={"data": ("part", b"x")})
            assert code_of(third) == "too_many_parts"
            assert await counts(api) == NOTHING | {"upload_parts": 2, "objects": 2}
            assert (await complete(http, upload_id, parts[:1])).status_code == 200
        assert await counts(api) == ONE_FILE

    async def test_of_an_ended_upload(self, api: Api) -> None:
        async with api.http() as http:
            cancelled, completed, expired = [await announce(http, 3) for _ in range(3)]
            await cancel(http, cancelled)
            await complete(http, completed, [await send(http, completed, b"abc")])
            await age(api, expired, HOUR)
            for upload_id, code in (
                (cancelled, "upload_cancelled"),
                (completed, "upload_completed"),
                (expired, "upload_expired"),
            ):
                answer = await http.post(f"/uploads/{upload_id}/parts", files={"data": ("part", b"x")})
                assert code_of(answer) == code
        assert await counts(api) == ONE_FILE

    async def test_that_meets_the_end_while_it_comes_in(self, api: Api) -> None:
        async with api.http() as http:
            upload_id = await announce(http, 3)

            async def body() -> AsyncIterator[bytes]:
                yield b'--b\r\ncontent-disposition: form-data; name="data"; filename="p"\r\n\r\na'
                await cancel(http, upload_id)
                yield b"bc\r\n--b--\r\n"

            kind = {"content-type": "multipart/form-data; boundary=b"}
            answer = await http.post(f"/uploads/{upload_id}/parts", content=body(), headers=kind)
        assert code_of(answer) == "upload_cancelled"
        assert await counts(api) == NOTHING


class TestComplete:
    async def test_joins_in_the_order_named_whatever_order_they_came_in(self, api: Api) -> None:
        pieces = [bytes([number]) * (100_000 + number) for number in range(12)]
        whole = b"".join(pieces)
        async with api.http() as http:
            upload_id = await announce(http, len(whole), expires_after={"anchor": "created_at", "seconds": 3600})
            part_ids = await asyncio.gather(*(send(http, upload_id, piece) for piece in pieces[::-1]))
            md5 = hashlib.md5(whole).hexdigest().upper()
            answer = await complete(http, upload_id, part_ids[::-1], md5=md5)
            done = TypeAdapter(SdkUpload).validate_json(answer.content, strict=True)
            assert (done.id, done.status) == (upload_id, "completed")
            assert done.file is not None
            assert (done.file.bytes, done.file.filename, done.file.purpose) == (len(whole), "a.bin", "user_data")
            assert done.file.expires_at == done.file.created_at + 3600
            assert (await http.get(f"/files/{done.file.id}")).json() == answer.json()["file"]
            content = await http.get(f"/files/{done.file.id}/content")
            assert content.content == whole
        assert await counts(api) == ONE_FILE

    async def test_again_answers_the_same(self, api: Api) -> None:
        async with api.http() as http:
            upload_id = await announce(http, 4)
            part_ids = [await send(http, upload_id, piece) for piece in (b"ab", b"cd")]
            first = await complete(http, upload_id, part_ids)
            again = await complete(http, upload_id, part_ids, md5=hashlib.md5(b"abcd").hexdigest())
            assert (first.status_code, first.content) == (200, again.content)
            assert code_of(await complete(http, upload_id, part_ids[::-1])) == "upload_completed"
            assert code_of(await complete(http, upload_id, part_ids, md5="0" * 32)) == "md5_mismatch"
            assert await counts(api) == ONE_FILE
            await http.delete(f"/files/{first.json()['file']['id']}")
            assert (await complete(http, upload_id, part_ids)).json() == first.json() | {"file": None}

    async def test_refuses_parts_that_are_not_the_file_and_can_be_corrected(self, api: Api) -> None:
        async with api.http() as http:
            upload_id, another = await announce(http, 4), await announce(http, 4)
            a, b = [await send(http, upload_id, piece) for piece in (b"ab", b"cd")]
            foreign = await send(http, another, b"cd")
            md5 = hashlib.md5(b"abcd").hexdigest()
            for part_ids, code in (
                ([a, foreign], "part_not_found"),
                ([a, "part_x"], "part_not_found"),
                ([a, a], "duplicate_part"),
                ([a], "upload_size_mismatch"),
                ([], "invalid_value"),
                ([b, a], "md5_mismatch"),
            ):
                assert code_of(await complete(http, upload_id, part_ids, md5=md5)) == code
                assert await counts(api) == NOTHING | {"upload_parts": 3, "objects": 3}
            assert code_of(await complete(http, upload_id, [a, b], md5="abc")) == "invalid_value"
            assert (await complete(http, upload_id, [a, b], md5=md5)).status_code == 200

    async def test_unknown_and_foreign_parts_are_refused_alike(self, api: Api) -> None:
        async with api.http() as http, api.http(api.other) as others:
            theirs = await send(others, await announce(others, 4), b"abcd")
            upload_id = await announce(http, 4)
            answers = [await complete(http, upload_id, [part_id]) for part_id in (theirs, "part_x")]
            known, unknown = [answer.text.replace(theirs, "part_x") for answer in answers]
            assert known == unknown

    async def test_of_an_ended_upload(self, api: Api) -> None:
        async with api.http() as http:
            cancelled, expired = await announce(http, 3), await announce(http, 3)
            parts = [await send(http, upload_id, b"abc") for upload_id in (cancelled, expired)]
            await cancel(http, cancelled)
            await age(api, expired, HOUR)
            assert code_of(await complete(http, cancelled, parts[:1])) == "upload_cancelled"
            assert code_of(await complete(http, expired, parts[1:])) == "upload_expired"
            assert code_of(await cancel(http, expired)) == "upload_expired"

    async def test_a_lost_part_does_not_become_a_shorter_file(self, api: Api) -> None:
        async with api.http() as http:
            upload_id = await announce(http, 4)
            part_ids = [await send(http, upload_id, piece) for piece in (b"ab", b"cd")]
            for path in api.storage.rglob(f"{api.one.project_id}/*"):
                path.unlink()
            assert (await complete(http, upload_id, part_ids)).status_code == 500
        assert await counts(api) == NOTHING | {"upload_parts": 2}


class TestCancel:
    async def test_removes_the_parts_and_may_be_repeated(self, api: Api) -> None:
        async with api.http() as http:
            upload_id = await announce(http, 6)
            await asyncio.gather(*(send(http, upload_id, b"ab") for _ in range(3)))
            first, again = await cancel(http, upload_id), await cancel(http, upload_id)
        done = TypeAdapter(SdkUpload).validate_json(first.content, strict=True)
        assert (done.status, done.file) == ("cancelled", None)
        assert first.content == again.content
        assert await counts(api) == NOTHING

    async def test_of_a_completed_upload_is_refused(self, api: Api) -> None:
        async with api.http() as http:
            upload_id = await announce(http, 3)
            await complete(http, upload_id, [await send(http, upload_id, b"abc")])
            assert code_of(await cancel(http, upload_id)) == "upload_completed"
        assert await counts(api) == ONE_FILE


async def test_another_projects_upload_is_as_one_that_never_was(api: Api) -> None:
    async with api.http() as http, api.http(api.other) as others:
        upload_id = await announce(http, 3)
        part_id = await send(http, upload_id, b"abc")
        unknown = "upload_" + "0" * 26
        bodies: dict[str, dict[str, Any]] = {
            "parts": {"files": {"data": ("part", b"abc")}},
            "complete": {"json": {"part_ids": [part_id]}},
            "cancel": {},
        }
        for path, body in bodies.items():
            foreign = await others.post(f"/uploads/{upload_id}/{path}", **body)
            never = await others.post(f"/uploads/{unknown}/{path}", **body)
            assert code_of(foreign, 404) == "upload_not_found"
            assert foreign.text.replace(upload_id, unknown) == never.text
        assert (await complete(http, upload_id, [part_id])).status_code == 200


async def test_the_sdk_does_all_of_it(api: Api) -> None:
    sdk = api.one.sdk()

    def work() -> str:
        data = bytes(range(256)) * 1000
        done = sdk.uploads.upload_file_chunked(
            file=data,
            filename="d.bin",
            bytes=len(data),
            mime_type="application/octet-stream",
            purpose="user_data",
            part_size=100_000,
            md5=hashlib.md5(data).hexdigest(),
        )
        assert done.file is not None
        assert sdk.files.content(done.file.id).read() == data
        given_up = sdk.uploads.create(bytes=1, filename="x", mime_type="text/plain", purpose="batch")
        return sdk.uploads.cancel(given_up.id).status

    assert await asyncio.to_thread(work) == "cancelled"
    assert await counts(api) == ONE_FILE
