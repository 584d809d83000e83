"""The calls that a client of `/v1/uploads` makes, and what the tests look at afterwards."""

import datetime as dt
from typing import Any

import httpx2
from sqlalchemy import func, select, update

from service.database.tables import File, PendingUpload, Upload, UploadPart
from tests.http.fixtures import Api
from tests.wire import refusal

HOUR = dt.timedelta(hours=1)


async def announce(http: httpx2.AsyncClient, size_bytes: int, **fields: Any) -> str:
    """A new upload: its id."""
    body = {"bytes": size_bytes, "filename": "a.bin", "mime_type": "text/plain", "purpose": "user_data"} | fields
    answer = await http.post("/uploads", json=body)
    assert answer.status_code == 200, answer.text
    upload_id: str = answer.json()["id"]
    return upload_id


async def send(http: httpx2.AsyncClient, upload_id: str, data: bytes) -> str:
    """A part: its id."""
    answer = await http.post(f"/uploads/{upload_id}/parts", files={"data": ("part", data)})
    assert answer.status_code == 200, answer.text
    part_id: str = answer.json()["id"]
    return part_id


async def complete(http: httpx2.AsyncClient, upload_id: str, part_ids: list[str], **fields: Any) -> httpx2.Response:
    """The answer to completing it."""
    return await http.post(f"/uploads/{upload_id}/complete", json={"part_ids": part_ids} | fields)


async def cancel(http: httpx2.AsyncClient, upload_id: str) -> httpx2.Response:
    """The answer to cancelling it."""
    return await http.post(f"/uploads/{upload_id}/cancel")


def code_of(answer: httpx2.Response, status: int = 400) -> str:
    """The code of a refusal."""
    assert answer.status_code == status, answer.text
    code: str = refusal(answer)["code"]
    return code


async def change(api: Api, upload_id: str, **values: Any) -> None:
    """Change an upload's row behind everybody's back."""
    async with api.rows() as session:
        await session.execute(update(Upload).where(Upload.id == upload_id).values(**values))


async def age(api: Api, upload_id: str, by: dt.timedelta) -> None:
    """Let the upload be so much older."""
    await change(api, upload_id, created_at=Upload.created_at - by, expires_at=Upload.expires_at - by)


async def counts(api: Api) -> dict[str, int]:
    """What the first project has left: rows by table, and objects."""
    async with api.rows() as session:
        rows = {
            table.__tablename__: await session.scalar(select(func.count()).select_from(table)) or 0
            for table in (File, UploadPart, PendingUpload)
        }
    return rows | {"objects": len(api.objects())}


NOTHING = {"files": 0, "upload_parts": 0, "pending_uploads": 0, "objects": 0}
ONE_FILE = NOTHING | {"files": 1, "objects": 1}
