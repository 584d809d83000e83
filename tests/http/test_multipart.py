"""Multipart bodies within their limits, wherever their bytes are: fields, headers of parts, before and after parts."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from service.http.multipart import MAX_BOUNDARY, MAX_FIELD_BYTES, MAX_FIELDS, MAX_FORM_BYTES
from tests.http.fixtures import MAX_FILE_BYTES, Api
from tests.http.test_uploads import HEAD, TYPE, nothing_left
from tests.wire import refusal

ENDLESS_BYTES = 4 * MAX_FORM_BYTES
"""What an endless body has at most, so that the test ends without the bound too."""

FIELD = b'--b\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n'
END = b"\r\n--b--\r\n"


async def endless(start: bytes, piece: bytes) -> AsyncIterator[bytes]:
    """A body that goes on with the same bytes."""
    yield start
    for _ in range(ENDLESS_BYTES // len(piece)):
        yield piece


async def refused(api: Api, content: bytes | AsyncIterator[bytes]) -> tuple[int, str | None, str]:
    """Status, code and message of the refusal of an upload, which leaves nothing behind."""
    async with api.http() as http:
        answer = await http.post("/files", content=content, headers=TYPE)
    assert await nothing_left(api)
    return answer.status_code, refusal(answer)["code"], refusal(answer)["message"]


class TestBesideTheFile:
    @pytest.mark.parametrize(
        ("start", "piece"),
        [
            (b"", b"x" * 65_536),
            (b"", b"\r\n--a\r\n" * 8_000),
            (HEAD % b"vision" + b"x" + END, b"x" * 65_536),
            (FIELD % (b"purpose", b"vision") + b"--b--\r\n", b"\r\n--b\r\n" * 8_000),
        ],
        ids=["a boundary that never comes", "preamble of other boundaries", "epilogue", "epilogue without a file"],
    )
    async def test_endless(self, api: Api, start: bytes, piece: bytes) -> None:
        status, code, message = await refused(api, endless(start, piece))
        assert (status, code) == (413, "request_too_large")
        assert f"{MAX_FORM_BYTES:,} bytes beside its file" in message

    async def test_fields_together(self, api: Api) -> None:
        many = b"".join(FIELD % (b"x%d" % number, b"x" * MAX_FIELD_BYTES) for number in range(30))
        status, code, _ = await refused(api, many + HEAD % b"vision" + b"x" + END)
        assert (status, code) == (413, "request_too_large")

    async def test_one_field(self, api: Api) -> None:
        status, code, message = await refused(api, FIELD % (b"purpose", b"x" * (MAX_FIELD_BYTES + 1)) + b"--b--\r\n")
        assert (status, code) == (400, "invalid_value")
        assert f"{MAX_FIELD_BYTES:,} bytes" in message

    async def test_the_file_itself_does_not_count(self, api: Api) -> None:
        """Twelve times as much as a form may have, in one file of what an upload in parts accepts."""
        announced = {"filename": "a", "purpose": "vision", "bytes": 12 * MAX_FORM_BYTES, "mime_type": "image/png"}
        async with api.http() as http:
            opened = await http.post("/uploads", json=announced)
            content = {"data": ("a", b"x" * 12 * MAX_FORM_BYTES)}
            part = await http.post(f"/uploads/{opened.json()['id']}/parts", files=content)
        assert part.status_code == 200, part.text


class TestParts:
    async def test_number(self, api: Api) -> None:
        many = b"".join(FIELD % (b"x%d" % number, b"y") for number in range(MAX_FIELDS))
        status, code, message = await refused(api, many + HEAD % b"vision" + b"x" + END)
        assert (status, code) == (400, "invalid_multipart")
        assert f"{MAX_FIELDS} parts" in message

    @pytest.mark.parametrize(
        "headers",
        [b"x: " + b"y" * 5_000 + b"\r\n", b"y" * 5_000, b"x: y\r\n" * 10],
        ids=["bytes of a line", "bytes of a line that never ends", "number"],
    )
    async def test_headers(self, api: Api, headers: bytes) -> None:
        content = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n' + headers + b"\r\nvision" + END
        status, code, message = await refused(api, content)
        assert (status, code) == (400, "invalid_multipart")
        assert "header" in message

    @pytest.mark.parametrize(
        ("disposition", "code"),
        [
            (b"", "invalid_multipart"),
            (b"content-disposition: form-data\r\n", "invalid_multipart"),
            (b'content-disposition: attachment; name="purpose"\r\n', "invalid_multipart"),
        ],
        ids=["no header", "no name", "no field"],
    )
    async def test_unnamed(self, api: Api, disposition: bytes, code: str) -> None:
        part = b"--b\r\n" + disposition + b"\r\nvision\r\n"
        for content in (part + b"--b--\r\n", part * 10 + b"--b--\r\n"):
            assert (await refused(api, content))[:2] == (400, code)

    async def test_boundary(self, api: Api) -> None:
        async def answer(length: int) -> httpx2.Response:
            boundary = b"b" * length
            content = (HEAD % b"vision" + b"x" + END).replace(b"--b", b"--" + boundary)
            media = {"content-type": f"multipart/form-data; boundary={boundary.decode()}"}
            async with api.http() as http:
                return await http.post("/files", content=content, headers=media)

        assert (await answer(MAX_BOUNDARY)).status_code == 200
        long = await answer(MAX_BOUNDARY + 1)
        assert (long.status_code, refusal(long)["code"]) == (400, "invalid_content_type")


def test_files_of_this_api_are_smaller_than_a_form() -> None:
    """Otherwise the size of the file would refuse what is to be refused here."""
    assert MAX_FILE_BYTES < MAX_FORM_BYTES
