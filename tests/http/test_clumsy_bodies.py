"""Bodies as clumsy clients send them: each is served, or refused with what is wrong in it and what to send."""

import asyncio
import gzip
import zlib

import httpx2
import pytest

from tests.http.fixtures import Api
from tests.http.test_body_limits import Raw
from tests.http.test_uploads import nothing_left
from tests.wire import refusal

JSON = {"content-type": "application/json"}
MULTIPART = "multipart/form-data; boundary=b"
PURPOSE = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
FILE = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.csv"\r\n%s\r\nx\r\n'
END = b"--b--\r\n"


async def send(api: Api, content: bytes, content_type: str | None = MULTIPART, **headers: str) -> httpx2.Response:
    """The answer to an upload."""
    typed = {} if content_type is None else {"content-type": content_type}
    async with api.http() as http:
        return await http.post("/files", content=content, headers=typed | headers)


async def refused(api: Api, content: bytes, content_type: str | None = MULTIPART) -> tuple[str, str]:
    """The code and message of an upload that is refused with 400 and leaves nothing."""
    answer = await send(api, content, content_type)
    assert answer.status_code == 400, answer.text
    assert await nothing_left(api)
    return refusal(answer)["code"], refusal(answer)["message"]


class TestNames:
    @pytest.mark.parametrize(
        "parameter",
        [
            "filename*=utf-8''Ausk%C3%BCnfte.csv",
            'filename="=?utf-8?B?QXVza8O8bmZ0ZS5jc3Y=?="',
            'filename="C:\\dir\\Auskünfte.csv"',
            "filename=Auskünfte.csv",
        ],
    )
    async def test_of_files(self, api: Api, parameter: str) -> None:
        part = f'--b\r\ncontent-disposition: form-data; name="file"; {parameter}\r\n\r\na\r\n'.encode()
        assert (await send(api, PURPOSE + part + END)).json()["filename"] == "Auskünfte.csv"

    async def test_in_latin_1(self, api: Api) -> None:
        part = b'--b\r\ncontent-disposition: form-data; name="file"; filename="Ausk\xfcnfte.csv"\r\n\r\na\r\n'
        assert (await send(api, PURPOSE + part + END)).json()["filename"] == "Auskünfte.csv"

    async def test_of_a_part_without_one_come_from_its_type(self, api: Api) -> None:
        part = b'--b\r\ncontent-disposition: form-data; name="file"\r\ncontent-type: text/csv\r\n\r\na\r\n'
        assert (await send(api, PURPOSE + part + END)).json()["filename"] == "file.csv"

    async def test_of_uploads(self, api: Api) -> None:
        announced = {"purpose": "vision", "bytes": 3, "mime_type": "text/csv"}
        async with api.http() as http:
            for filename in ("C:\\dir\\Auskünfte.csv", "=?utf-8?Q?Ausk=C3=BCnfte.csv?="):
                made = await http.post("/uploads", json=announced | {"filename": filename})
                assert made.json()["filename"] == "Auskünfte.csv"


class TestContentEncoding:
    @pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "br", "zstd", "identity, gzip", "none"])
    async def test_compressed_bodies_are_refused_by_the_header(self, api: Api, encoding: str) -> None:
        headers = {"content-encoding": encoding}
        json_body, form = gzip.compress(b'{"model": "x"}'), zlib.compress(PURPOSE + FILE % b"" + END)
        async with api.http() as http:
            answers = [
                await http.post(path, content=json_body, headers=JSON | headers)
                for path in ("/chat/completions", "/fine_tuning/jobs", "/uploads")
            ]
            answers.append(await http.post("/files", content=form, headers={"content-type": MULTIPART} | headers))
        for answer in answers:
            assert (answer.status_code, refusal(answer)["code"]) == (415, "unsupported_content_encoding")
            assert f"`Content-Encoding: {encoding}`" in refusal(answer)["message"]
            assert "uncompressed" in refusal(answer)["message"]
        assert await nothing_left(api)

    async def test_compressed_transfers_are_refused_too(self, api: Api) -> None:
        packed = gzip.compress(b"{}")
        headers = JSON | {"transfer-encoding": "gzip, chunked"}
        raw = await Raw.post(api.one, "/chat/completions", headers, b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed))
        async with asyncio.timeout(60):
            head = await raw.reader.readuntil(b"\r\n\r\n")
            body = await raw.reader.readuntil(b"}}")
        raw.writer.close()
        assert head.startswith(b"HTTP/1.1 415 ")
        assert b"`Transfer-Encoding: gzip, chunked`" in body

    @pytest.mark.parametrize("encoding", ["identity", "Identity", "", "identity, identity"])
    async def test_identity_changes_nothing(self, api: Api, encoding: str) -> None:
        headers = {"content-encoding": encoding}
        assert (await send(api, PURPOSE + FILE % b"" + END, **headers)).status_code == 200
        async with api.http() as http:
            answer = await http.post("/chat/completions", json={"model": "none"}, headers=headers)
            assert refusal(answer)["code"] == "model_not_found"

    async def test_a_call_without_a_body_may_have_the_header(self, api: Api) -> None:
        async with api.http() as http:
            answer = await http.get("/files", headers={"content-encoding": "gzip"})
        assert answer.status_code == 200

    @pytest.mark.parametrize(
        "header",
        [
            "Content-Encoding: gzip",
            "Content-Transfer-Encoding: base64",
            "Content-Transfer-Encoding: Quoted-Printable",
        ],
    )
    async def test_encoded_parts_are_named(self, api: Api, header: str) -> None:
        for content, name in (
            (PURPOSE + FILE % f"{header}\r\n".encode() + END, "file"),
            (PURPOSE.replace(b"\r\n\r\n", f"\r\n{header}\r\n\r\n".encode()) + END, "purpose"),
        ):
            answer = await send(api, content)
            error = refusal(answer)
            assert (answer.status_code, error["code"], error["param"]) == (415, "unsupported_content_encoding", name)
            assert f"The part `{name}` has the header `{header}`" in error["message"]
        assert await nothing_left(api)

    @pytest.mark.parametrize("coding", [b"binary", b"8bit", b"7BIT"])
    async def test_transfer_encodings_that_change_nothing(self, api: Api, coding: bytes) -> None:
        answer = await send(api, PURPOSE + FILE % (b"Content-Transfer-Encoding: " + coding + b"\r\n") + END)
        assert (answer.status_code, answer.json()["bytes"]) == (200, 1)

    async def test_a_gzip_file_stays_one(self, api: Api) -> None:
        async with api.http() as http:
            packed = gzip.compress(b"{}")
            answer = await http.post("/files", data={"purpose": "user_data"}, files={"file": ("x.jsonl.gz", packed)})
            assert answer.json()["filename"] == "x.jsonl.gz"
            assert (await http.get(f"/files/{answer.json()['id']}/content")).content == packed


class TestMultipart:
    @pytest.mark.parametrize(
        ("content_type", "says"),
        [
            (None, "has no `Content-Type`"),
            ("application/json", "The `Content-Type` is `application/json`"),
            ("application/x-www-form-urlencoded", "as of curl's -d"),
            ("application/octet-stream", "as of the bytes of a file alone"),
            ("multipart/mixed; boundary=b", "is `multipart/mixed`"),
            ("multipart/form-data", "has no boundary. Leave the header to the HTTP client"),
            ('multipart/form-data; boundary=""', "has no boundary"),
        ],
    )
    async def test_type(self, api: Api, content_type: str | None, says: str) -> None:
        code, message = await refused(api, PURPOSE + FILE % b"" + END, content_type)
        assert (code, says in message) == ("invalid_content_type", True), message
        assert "field `file`: with curl -F file=@train.jsonl, with the SDK file=open(" in message

    @pytest.mark.parametrize("boundary", ["----=_Part_1_2.3", "'a/b:c'", "a b"])
    async def test_boundaries_of_java_mail_libraries(self, api: Api, boundary: str) -> None:
        content = (PURPOSE + FILE % b"" + END).replace(b"--b", b"--" + boundary.encode())
        for content_type in (f"multipart/form-data; boundary={boundary}", f'multipart/form-data;Boundary="{boundary}"'):
            assert (await send(api, content, content_type)).status_code == 200

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "is empty"),
            (b'{"messages": []}\n', "does not contain the boundary `b` that the `Content-Type` names. Leave"),
            (b"--other\r\n\r\n", "names; it begins with the boundary `other`. Leave the header"),
            (gzip.compress(PURPOSE), "is compressed by gzip"),
            (PURPOSE, "ends before its closing boundary `--b--`"),
            (PURPOSE + FILE % b"", "ends before its closing boundary `--b--`"),
            (PURPOSE.replace(b"\r\n", b"\n"), "must end with CRLF"),
            (b"--b\r\ncontent-disposition: form-data\r\n\r\nx\r\n" + END, 'form-data; name="…"'),
            (b"--b\r\ncontent-type: text/csv\r\n\r\nx\r\n" + END, "A part has no `Content-Disposition` header"),
        ],
        ids=range(9),
    )
    async def test_body(self, api: Api, content: bytes, says: str) -> None:
        code, message = await refused(api, content)
        assert (code, says in message) == ("invalid_multipart", True), message

    @pytest.mark.parametrize("content_type", [b"", b"content-type: text/plain; charset=ISO-8859-1\r\n"])
    async def test_a_text_in_the_file_s_place(self, api: Api, content_type: bytes) -> None:
        """As `curl -F file=train.jsonl` sends it, where `@` is missing."""
        part = b'--b\r\ncontent-disposition: form-data; name="file"\r\n' + content_type + b"\r\ntrain.jsonl\r\n"
        code, message = await refused(api, PURPOSE + part + END)
        assert (code, "its part has no filename" in message, "-F file=@" in message) == ("invalid_value", True, True)

    async def test_two_files(self, api: Api) -> None:
        code, message = await refused(api, PURPOSE + FILE % b"" + FILE % b"" + END)
        assert (code, "given twice. Send one file in a request" in message) == ("invalid_value", True)

    async def test_a_field_twice(self, api: Api) -> None:
        code, message = await refused(api, PURPOSE + PURPOSE + FILE % b"" + END)
        assert (code, "`purpose` is given twice" in message) == ("invalid_value", True)

    async def test_a_form_in_which_no_file_was_chosen(self, api: Api) -> None:
        part = b'--b\r\ncontent-disposition: form-data; name="file"; filename=""\r\n'
        part += b"content-type: application/octet-stream\r\n\r\n\r\n"
        code, message = await refused(api, PURPOSE + part + END)
        assert (code, "'file'" in message) == ("missing_required_parameter", True)

    async def test_the_file_in_another_field(self, api: Api) -> None:
        part = (FILE % b"").replace(b'"file"', b'"training_file"')
        code, message = await refused(api, PURPOSE + part + END)
        assert code == "missing_required_parameter"
        assert "The body has 'purpose', 'training_file' only." in message

    async def test_a_large_file_in_another_field(self, api: Api) -> None:
        part = (FILE % b"").replace(b'"file"', b'"training_file"').replace(b"x\r\n", b"x" * 70_000 + b"\r\n")
        _, message = await refused(api, PURPOSE + part + END)
        assert "the file belongs in the field `file`" in message

    async def test_part_of_an_upload(self, api: Api) -> None:
        async with api.http() as http:
            announced = {"filename": "a", "purpose": "vision", "bytes": 3, "mime_type": "image/png"}
            path = f"/uploads/{(await http.post('/uploads', json=announced)).json()['id']}/parts"
            answer = await http.post(path, content=b"x", headers={"content-type": "application/octet-stream"})
        assert "with curl -F data=@part.bin" in refusal(answer)["message"]


class TestJson:
    @pytest.mark.parametrize("path", ["/chat/completions", "/fine_tuning/jobs", "/uploads"])
    async def test_latin_1(self, api: Api, path: str) -> None:
        async with api.http() as http:
            answer = await http.post(path, content=b'{"model": "M\xfcller"}', headers=JSON)
        assert (answer.status_code, refusal(answer)["code"]) == (400, "invalid_json")
        assert "line 1, column 13 (byte offset 12), in 'model'" in refusal(answer)["message"]

    @pytest.mark.parametrize("path", ["/chat/completions", "/fine_tuning/jobs"])
    async def test_a_charset_other_than_utf_8(self, api: Api, path: str) -> None:
        async with api.http() as http:
            headers = {"content-type": "application/json; charset=iso-8859-1"}
            answer = await http.post(path, content=b'{"model": "x"}', headers=headers)
        assert (answer.status_code, refusal(answer)["code"]) == (400, "invalid_content_type")
        assert "'iso-8859-1'" in refusal(answer)["message"]

    async def test_an_empty_body(self, api: Api) -> None:
        async with api.http() as http:
            for path in ("/chat/completions", "/fine_tuning/jobs"):
                message = refusal(await http.post(path))["message"]
                assert message.startswith("The body is empty. Missing required parameter: 'model'.")


class TestUrls:
    @pytest.mark.parametrize(
        ("path", "says"),
        [
            ("/files", "The base URL must end with /v1."),
            ("/chat/completions", "The base URL must end with /v1."),
            ("/project", "The base URL must end with /v1."),
            ("/v1/v1/files", "/v1 twice"),
            ("/v1/responses", "This service has /v1/chat/completions instead"),
            ("/v1/messages", "This service has /v1/chat/completions instead"),
            ("/openai/embeddings", "as azure_endpoint"),
            ("/v1/openai/files", "azure_endpoint is this service's address alone"),
            ("/openai/openai/files", "azure_endpoint is this service's address alone"),
            ("/nothing", "See /docs"),
        ],
    )
    async def test_unknown(self, api: Api, path: str, says: str) -> None:
        async with api.http() as http:
            answer = await http.post(http.base_url.copy_with(path=path), json={})
        assert (answer.status_code, refusal(answer)["code"]) == (404, "unknown_url")
        assert says in refusal(answer)["message"]
        assert f"POST {path}." in refusal(answer)["message"]
