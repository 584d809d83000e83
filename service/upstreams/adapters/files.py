"""The calls that upload, find and delete files."""

import secrets
from collections.abc import AsyncIterator, Collection
from urllib.parse import quote

import httpx2
import openai

from service.upstreams.adapters.answers import MAX_ERROR_BYTES, decode_object
from service.upstreams.adapters.outcomes import create_outcome, raises_upstream_error
from service.upstreams.adapters.sdk import PAGE, SdkClient, created, pages
from service.upstreams.adapters.transport import STREAMED
from service.upstreams.port import CreateOutcome, FileState, UpstreamError


class FileCalls(SdkClient):
    """Files of one account."""

    async def upload_file(self, filename: str, size_bytes: int, chunks: AsyncIterator[bytes]) -> CreateOutcome:
        """Upload a dataset as a stream, never whole in memory. Exceptions of `chunks` are raised."""
        boundary = secrets.token_hex(16)
        head = (
            f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
            f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{filename}"\r\n'
            "content-type: application/jsonl\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()

        async def body() -> AsyncIterator[bytes]:
            yield head
            async for chunk in chunks:
                yield chunk
            yield tail

        try:
            response = await self._http.post(
                self._url("/files"),
                content=body(),
                headers={
                    **self._auth_headers(),
                    "content-type": f"multipart/form-data; boundary={boundary}",
                    "content-length": str(len(head) + size_bytes + len(tail)),
                },
                timeout=self._upload_timeout,
            )
        except httpx2.HTTPError as error:
            return self._create_ended(create_outcome(error))
        if response.is_success:
            return self._create_ended(created(decode_object(response.content).get("id")))
        return self._refused_create(response)

    @raises_upstream_error
    async def find_file(self, filename: str, size_bytes: int, *, other_than: Collection[str] = ()) -> str | None:
        """Search the list of files for one that an upload without a response may have created."""
        async for page in pages(lambda after: self._client.files.list(purpose="fine-tune", limit=PAGE, after=after)):
            for file in page.data:
                same = file.filename == filename and file.bytes == size_bytes and file.status != "error"
                if same and file.id not in other_than:
                    return file.id
        return None

    @raises_upstream_error
    async def file_state(self, file_id: str) -> FileState:
        """A file that exists is ready, because OpenAI's jobs themselves wait until their files are validated."""
        try:
            file = await self._client.files.retrieve(file_id)
        except openai.NotFoundError:
            return "gone"
        return "failed" if file.status == "error" else "ready"

    @raises_upstream_error
    async def file_content(self, file_id: str, max_bytes: int) -> bytes:
        """The whole content of a result file; one larger than `max_bytes` counts as unreadable."""
        request = self._http.build_request(
            "GET",
            self._url(f"/files/{quote(file_id, safe='')}/content"),
            headers=self._auth_headers(),
            timeout=self._client.timeout,
            extensions=STREAMED,
        )
        response = await self._http.send(request, stream=True)
        try:
            content = bytearray()
            limit = max_bytes if response.is_success else MAX_ERROR_BYTES
            async for chunk in response.aiter_bytes():
                if len(content) + len(chunk) > limit:
                    raise UpstreamError("invalid", f"The result file has more than {limit:,} bytes.")
                content += chunk
        finally:
            await response.aclose()
        if not response.is_success:
            raise self._status_error(response, bytes(content))
        return bytes(content)

    @raises_upstream_error
    async def delete_file(self, file_id: str) -> None:
        """Delete a dataset; a missing one is no error."""
        try:
            await self._client.files.delete(file_id)
        except openai.NotFoundError:
            return
