"""`/v1/uploads`: announce a large file, send its parts, complete or cancel it."""

import hashlib

import msgspec
from litestar import Response, post
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.datasets.files.staged_object import staged_object
from service.datasets.uploads.actions import (
    MAX_PART_BYTES,
    add_part,
    cancel_upload,
    check_open,
    create_upload,
    remove_parts,
)
from service.datasets.uploads.completion import complete_upload
from service.datasets.uploads.queries import get_upload
from service.datasets.uploads.schemas import (
    CompleteUpload,
    CreateUpload,
    UploadObject,
    UploadPartObject,
    show_part,
    show_upload,
)
from service.errors import InvalidRequest
from service.http.bodies import read_body
from service.http.concurrent_requests import Uploads
from service.http.idempotency import answer_once
from service.http.multipart import read_form
from service.http.multipart_faults import missing_file
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.http.wire_types import NoFields
from service.identity.callers import Caller
from service.identity.requests import caller, request_identity_of
from service.settings import Settings
from service.storage import Storage

PART_FORM = {"data": "The bytes of this part, at most 64 MB. Parts may come in any order and at the same time."}


@post(
    "/uploads",
    status_code=200,
    summary="Create an upload",
    opt=operation(returns=UploadObject, body=CreateUpload, creates=True),
)
async def post_upload(request: ApiRequest) -> Response[bytes]:
    """Announce a file that you send in parts, at most 8 GB by default. The upload expires after an hour."""
    who = caller(request)
    body, sha256 = await read_body(request, CreateUpload)

    async def act(session: AsyncSession) -> UploadObject:
        settings = resource(request, Settings)
        row = await create_upload(
            session,
            project_id=who.project_id,
            body=body,
            max_bytes=settings.max_upload_bytes,
            max_open=settings.max_open_uploads,
        )
        return show_upload(row, None)

    return await answer_once(resource(request, Database), request_identity_of(request, sha256), act)


@post(
    "/uploads/{upload_id:str}/parts",
    status_code=200,
    request_max_body_size=None,
    summary="Add a part to an upload",
    opt=operation(returns=UploadPartObject, form=PART_FORM, creates=True),
)
async def post_upload_part(request: ApiRequest, upload_id: FromPath[str]) -> Response[bytes]:
    """Send one part as a stream. It becomes part of the file once its id is named at completion."""
    who = caller(request)
    with resource(request, Uploads).occupy(who.project_id):
        return await _add_part(request, who, upload_id)


async def _add_part(request: ApiRequest, who: Caller, upload_id: str) -> Response[bytes]:
    db = resource(request, Database)
    async with db.project(who.project_id) as session:
        _, state = await get_upload(session, who.project_id, upload_id)
    check_open(upload_id, state)
    async with staged_object(db, resource(request, Storage), who.project_id) as staged:
        form = await read_form(
            request, file_field="data", max_file_bytes=MAX_PART_BYTES, store=staged.write, check_fields=_refuse_fields
        )
        _refuse_fields(form.fields)
        if form.file is None:
            raise missing_file("data", form.fields)
        stored = form.file

        async def act(session: AsyncSession) -> UploadPartObject:
            part = await add_part(
                session,
                project_id=who.project_id,
                upload_id=upload_id,
                storage_key=staged.storage_key,
                stored=stored,
            )
            staged.handed_over = True
            return show_part(part)

        identity = hashlib.sha256(msgspec.json.encode([form.filename, stored.sha256])).digest()
        return await answer_once(db, request_identity_of(request, identity), act)


@post(
    "/uploads/{upload_id:str}/complete",
    status_code=200,
    summary="Complete an upload",
    opt=operation(returns=UploadObject, body=CompleteUpload),
)
async def complete_one_upload(request: ApiRequest, upload_id: FromPath[str]) -> UploadObject:
    """Join the parts in the given order. The answer comes once the file exists; a repeated call returns the same."""
    db = resource(request, Database)
    storage = resource(request, Storage)
    who = caller(request)
    body, _ = await read_body(request, CompleteUpload)
    with resource(request, Uploads).occupy(who.project_id):
        answer = await complete_upload(
            db,
            storage,
            project_id=who.project_id,
            upload_id=upload_id,
            body=body,
            model=resource(request, Catalogue).default,
            lease_seconds=resource(request, Settings).lease_seconds,
        )
        await remove_parts(db, storage, who.project_id, upload_id)
    return answer


@post(
    "/uploads/{upload_id:str}/cancel",
    status_code=200,
    summary="Cancel an upload",
    opt=operation(returns=UploadObject),
)
async def cancel_one_upload(request: ApiRequest, upload_id: FromPath[str]) -> UploadObject:
    """Cancel an upload and remove its parts. A completion that is under way stops, unless its file exists already."""
    db = resource(request, Database)
    who = caller(request)
    await read_body(request, NoFields)
    async with db.project(who.project_id) as session:
        answer = show_upload(await cancel_upload(session, who.project_id, upload_id), None)
    await remove_parts(db, resource(request, Storage), who.project_id, upload_id)
    return answer


def _refuse_fields(fields: dict[str, str]) -> None:
    for name in fields:
        raise InvalidRequest(
            f"Unknown parameter: '{name}'. A part has the field 'data' only.", param=name, code="unknown_parameter"
        )


ROUTES = [post_upload, post_upload_part, complete_one_upload, cancel_one_upload]
