"""`/v1/files`."""

import asyncio
import time
from typing import Any
from urllib.parse import quote

from litestar import Request, delete, get, post
from litestar.datastructures import State
from litestar.response import Stream

from ..ids import new_id
from ..storage import Storage
from ..store import Store
from .errors import ApiError, not_found
from .lists import AnyRequest, only_queries, page
from .uploads import Upload, receive

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data")
_MAX_LIFE_SECONDS = 30 * 86_400
_LIVE = "('validating_files', 'queued', 'running', 'paused')"


@post("/v1/files", status_code=200, request_max_body_size=None)
async def create_file(request: Request[Any, Any, Any], state: State) -> dict[str, Any]:
    """Store an upload under a new id; its row is written once all bytes are stored."""
    store: Store = state.store
    storage: Storage = state.storage
    file_id = new_id("file-")
    upload = Upload()
    chunks = receive(request, upload, max_bytes=state.settings.max_file_bytes, check=_check)
    await storage.put_stream(_key(file_id), chunks)
    return await asyncio.to_thread(_insert, store, file_id, upload)


@get("/v1/files", sync_to_thread=True)
def list_files(request: AnyRequest, state: State) -> dict[str, Any]:
    """All files, newest first unless `order=asc`."""
    only_queries(request, "after", "limit", "order", "purpose")
    order, purpose = request.query_params.get("order", "desc"), request.query_params.get("purpose")
    if order not in ("asc", "desc"):
        raise ApiError(400, f"order must be asc or desc, not {order!r}.", param="order")
    return page(
        state.store,
        request,
        table="files",
        where=[("coalesce(expires_at, 1e18) >= ?", _now()), *([("purpose = ?", purpose)] if purpose else [])],
        show=_show,
        default_limit=10_000,
        max_limit=10_000,
        ascending=order == "asc",
    )


@get("/v1/files/{file_id:str}", sync_to_thread=True)
def get_file(file_id: str, state: State) -> dict[str, Any]:
    """One file's object."""
    return _show(_find(state.store, file_id))


@get("/v1/files/{file_id:str}/content", sync_to_thread=True)
def get_content(file_id: str, state: State) -> Stream:
    """The content of a file: the bytes that were uploaded, or for a result file a CSV, encoded in base64."""
    row = _find(state.store, file_id)
    storage: Storage = state.storage
    try:
        size_bytes = storage.size_bytes(_key(file_id))
    except FileNotFoundError:
        raise not_found("File object", file_id, param="id") from None
    headers = {
        "content-length": str(size_bytes),
        "content-disposition": f"attachment; filename*=UTF-8''{quote(row['filename'], safe='')}",
    }
    return Stream(storage.read(_key(file_id)), media_type="application/octet-stream", headers=headers)


@delete("/v1/files/{file_id:str}", status_code=200, sync_to_thread=True)
def delete_file(file_id: str, state: State) -> dict[str, Any]:
    """Remove a file; 409 while a live job needs it."""
    store: Store = state.store
    _find(store, file_id)
    with store.write() as db:
        user = db.execute(
            f"SELECT id FROM jobs WHERE status IN {_LIVE} AND ? IN (training_file, validation_file)", (file_id,)
        ).fetchone()
        if user:
            raise ApiError(409, f"The job {user['id']} needs this file: cancel it or wait.", code="file_in_use")
        db.execute("DELETE FROM files WHERE id = ?", (file_id,))
    storage: Storage = state.storage
    storage.delete(_key(file_id))
    return {"id": file_id, "object": "file", "deleted": True}


def _key(file_id: str) -> str:
    return f"files/{file_id}"


def _check(upload: Upload) -> None:
    _purpose(upload)
    _expires_at(upload)
    if upload.size_bytes == 0:
        raise ApiError(400, "The file is empty.", param="file", code="empty_file")


def _insert(store: Store, file_id: str, upload: Upload) -> dict[str, Any]:
    purpose, expires_at = _purpose(upload), _expires_at(upload)
    with store.write() as db:
        db.execute(
            "INSERT INTO files (id, bytes, created_at, filename, purpose, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
            (file_id, upload.size_bytes, _now(), upload.filename, purpose, expires_at),
        )
    return _show(_find(store, file_id))


def _find(store: Store, file_id: str) -> Any:
    row = store.row("SELECT * FROM files WHERE id = ? AND coalesce(expires_at, 1e18) >= ?", file_id, _now())
    if row is None:
        raise not_found("File object", file_id, param="id")
    return row


def _show(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "file",
        "bytes": row["bytes"],
        "created_at": row["created_at"],
        "expires_at": row["expires_at"],
        "filename": row["filename"],
        "purpose": row["purpose"],
        "status": "processed",
        "status_details": None,
    }


def _purpose(upload: Upload) -> str:
    purpose = upload.fields.get("purpose")
    if purpose not in PURPOSES:
        raise ApiError(400, f"purpose must be one of {', '.join(PURPOSES)}, not {purpose!r}.", param="purpose")
    return purpose


def _expires_at(upload: Upload) -> int | None:
    anchor, seconds = upload.fields.get("expires_after[anchor]"), upload.fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at" or not (seconds or "").isdecimal():
        raise ApiError(400, "expires_after needs anchor=created_at and seconds.", param="expires_after")
    if not 3_600 <= int(seconds or 0) <= _MAX_LIFE_SECONDS:
        raise ApiError(400, "expires_after.seconds must be 3600 to 2592000.", param="expires_after")
    return _now() + int(seconds or 0)


def _now() -> int:
    return int(time.time())
