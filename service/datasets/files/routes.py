"""`/v1/files`: upload, list, retrieve, content, report, delete."""

import hashlib
from collections.abc import AsyncIterator
from urllib.parse import quote

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath
from litestar.response import Stream
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import Catalogue, provider_of
from service.database.engine import Database
from service.datasets.files.actions import create_file, delete_file, read_new_file, read_purpose
from service.datasets.files.queries import FINE_TUNE, get_file, read_file, read_files
from service.datasets.files.reports import read_report
from service.datasets.files.schemas import FileDeleted, FileObject, ListFiles, ReportQuery, show_file
from service.datasets.files.staged_object import staged_object
from service.datasets.report_schema import FileReport
from service.errors import NotFound
from service.http.bodies import read_query
from service.http.concurrent_requests import Downloads, Uploads
from service.http.idempotency import answer_once
from service.http.multipart import read_form
from service.http.multipart_faults import missing_file
from service.http.operation import operation
from service.http.pagination import page_of
from service.http.resources import ApiRequest, resource
from service.http.wire_types import Page
from service.identity import audit
from service.identity.callers import Caller
from service.identity.requests import caller, request_identity_of
from service.limits.enforcement import check_storage, max_file_bytes
from service.limits.unfinished_work import check_file_reports
from service.settings import Settings
from service.storage import Storage

UPLOAD_FORM = {
    "file": "The file itself, at most 512 MB by default.",
    "purpose": "`fine-tune` for training data; also `assistants`, `batch`, `vision` or `user_data`.",
    "expires_after[anchor]": "`created_at`, for a file that expires.",
    "expires_after[seconds]": "3600 to 2592000.",
}


@post(
    "/files",
    status_code=200,
    request_max_body_size=None,
    summary="Upload a file",
    opt=operation(returns=FileObject, form=UPLOAD_FORM, creates=True),
)
async def upload_file(request: ApiRequest) -> Response[bytes]:
    """Upload a file as a stream. Training data (`purpose=fine-tune`) is then checked; see its report."""
    who = caller(request)
    with resource(request, Uploads).occupy(who.project_id):
        return await _upload_file(request, who)


async def _upload_file(request: ApiRequest, who: Caller) -> Response[bytes]:
    db = resource(request, Database)
    async with db.project(who.project_id) as session:
        max_bytes = await max_file_bytes(session, who.project_id, resource(request, Settings).max_file_bytes)
    async with staged_object(db, resource(request, Storage), who.project_id) as staged:
        form = await read_form(
            request,
            file_field="file",
            max_file_bytes=max_bytes,
            store=staged.write,
            check_fields=_check_purpose,
        )
        if form.file is None or (not form.file.size_bytes and not form.filename):  # a browser's form without a choice
            raise missing_file("file", form.fields)
        stored, new_file = form.file, read_new_file(form.fields, form.filename)
        identity = msgspec.json.encode([sorted(form.fields.items()), form.filename, stored.sha256])

        async def act(session: AsyncSession) -> FileObject:
            await check_storage(session, who.project_id, adding_bytes=stored.size_bytes)
            if new_file.purpose == FINE_TUNE:
                await check_file_reports(session, who.project_id)
            row = await create_file(
                session,
                project_id=who.project_id,
                storage_key=staged.storage_key,
                new_file=new_file,
                stored=stored,
                model=resource(request, Catalogue).default,
            )
            staged.handed_over = True
            return show_file(row)

        return await answer_once(db, request_identity_of(request, hashlib.sha256(identity).digest()), act)


@get("/files", summary="List files", opt=operation(returns=Page[FileObject], query=ListFiles))
async def get_files(request: ApiRequest) -> Page[FileObject]:
    """The project's files, newest first unless `order=asc`."""
    query, who = read_query(request, ListFiles), caller(request)
    async with resource(request, Database).read(who.project_id) as reader:
        rows = await read_files(reader, who.project_id, query)
    return page_of(rows, query.limit, show_file, lambda file: file.id)


@get("/files/{file_id:str}", summary="Retrieve a file", opt=operation(returns=FileObject))
async def get_one_file(request: ApiRequest, file_id: FromPath[str]) -> FileObject:
    """One file with its status; `status_details` names the first errors."""
    who = caller(request)
    async with resource(request, Database).read(who.project_id) as reader:
        return show_file(await read_file(reader, who.project_id, file_id))


@get(
    "/files/{file_id:str}/content",
    summary="Download a file",
    opt=operation(media="application/octet-stream"),
)
async def get_content(request: ApiRequest, file_id: FromPath[str]) -> Stream:
    """The file's bytes, as they were uploaded."""
    who = caller(request)
    place = resource(request, Downloads).begin(who.project_id)
    try:
        async with resource(request, Database).project(who.project_id) as session:
            row = await get_file(session, who.project_id, file_id)
        chunks = resource(request, Storage).read(row.storage_key)
        first = await _first_chunk(chunks, file_id)
    except BaseException:
        place.release()
        raise

    async def content() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return place.stream(
        content(),
        headers={
            "content-type": "application/octet-stream",
            "content-length": str(row.size_bytes),
            "content-disposition": f"attachment; filename*=UTF-8''{quote(row.filename)}",
        },
    )


@get(
    "/files/{file_id:str}/report",
    summary="Retrieve a dataset's report",
    opt=operation(returns=FileReport, query=ReportQuery),
)
async def get_report(request: ApiRequest, file_id: FromPath[str]) -> FileReport:
    """A dataset's report: every finding, counts, tokens and prices. `?model=` selects the encoding and the token limit.

    With `?validation_file=`, it also lists the examples that this training file shares with that file.
    """
    who = caller(request)
    query = read_query(request, ReportQuery)
    async with resource(request, Database).project(who.project_id) as session:
        return await read_report(
            session,
            who.project_id,
            file_id,
            query,
            catalogue=resource(request, Catalogue),
            provider=provider_of(resource(request, Settings).upstream_base_url),
        )


@delete(
    "/files/{file_id:str}",
    status_code=200,
    summary="Delete a file",
    opt=operation(returns=FileDeleted),
)
async def remove_file(request: ApiRequest, file_id: FromPath[str]) -> FileDeleted:
    """Delete a file that no unfinished work needs: at once for its callers, then its bytes and upstream files."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        await delete_file(session, who.project_id, file_id)
        await audit.record(
            session,
            audit.actor_of(request),
            "resource.deleted",
            project_id=who.project_id,
            resource_id=file_id,
            data={"resource_type": "file"},
        )
    return FileDeleted(id=file_id)


def _check_purpose(fields: dict[str, str]) -> None:
    if "purpose" in fields:
        read_purpose(fields["purpose"])


async def _first_chunk(chunks: AsyncIterator[bytes], file_id: FromPath[str]) -> bytes:
    try:
        return await anext(chunks, b"")
    except FileNotFoundError:
        raise NotFound(f"The content of {file_id} is no longer stored.", code="file_not_found") from None


ROUTES = [upload_file, get_files, get_one_file, get_content, get_report, remove_file]
