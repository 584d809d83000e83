"""`client.files` of the official SDK, call by call."""

import httpx2
import openai
import pytest
from openai.types import FileDeleted, FileObject

from tests.contract.strict import strict_list, strictly, walked
from tests.wire import Tenant, chat_rows, jsonl, refusal

GOOD = jsonl(chat_rows(10))


class TestCreate:
    def test_training_data_is_uploaded_then_processed(self, sdk: openai.OpenAI) -> None:
        answer = sdk.files.with_raw_response.create(file=("a.jsonl", GOOD), purpose="fine-tune")
        made = strictly(FileObject, answer)
        assert made.id.startswith("file-")
        assert (made.filename, made.bytes, made.purpose, made.status) == ("a.jsonl", len(GOOD), "fine-tune", "uploaded")
        assert made.expires_at is None
        done = sdk.files.wait_for_processing(made.id, poll_interval=0.1, max_wait_seconds=90)
        assert (done.status, done.status_details) == ("processed", None)

    def test_data_with_errors_ends_as_error_and_says_where(self, sdk: openai.OpenAI) -> None:
        made = sdk.files.create(file=("bad.jsonl", GOOD + b'{"messages": 5}\n'), purpose="fine-tune")
        sdk.files.wait_for_processing(made.id, poll_interval=0.1, max_wait_seconds=90)
        done = strictly(FileObject, sdk.files.with_raw_response.retrieve(made.id))
        assert done.status == "error"
        assert "line 11" in str(done.status_details).lower()

    @pytest.mark.parametrize("purpose", ["assistants", "batch", "vision", "user_data"])
    def test_other_purposes_are_stored_as_they_are(self, sdk: openai.OpenAI, purpose: str) -> None:
        answer = sdk.files.with_raw_response.create(file=("x.bin", b"\0\xff"), purpose=purpose)  # type: ignore[arg-type]
        made = strictly(FileObject, answer)
        assert (made.purpose, made.status) == (purpose, "processed")

    def test_a_file_may_expire(self, sdk: openai.OpenAI) -> None:
        answer = sdk.files.with_raw_response.create(
            file=("x.txt", b"x"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
        )
        made = strictly(FileObject, answer)
        assert made.expires_at == made.created_at + 3600

    def test_an_empty_file_is_an_error_with_a_reason(self, sdk: openai.OpenAI) -> None:
        made = sdk.files.create(file=("empty.jsonl", b""), purpose="fine-tune")
        done = sdk.files.wait_for_processing(made.id, poll_interval=0.1, max_wait_seconds=90)
        assert done.status == "error"
        assert done.status_details


class TestRead:
    def test_content_is_what_was_uploaded(self, sdk: openai.OpenAI) -> None:
        bytes_in = bytes(range(256)) * 5000
        made = sdk.files.create(file=("b.bin", bytes_in), purpose="user_data")
        content = sdk.files.content(made.id)
        assert content.read() == bytes_in
        assert content.response.headers["content-length"] == str(len(bytes_in))
        assert content.response.headers["x-content-type-options"] == "nosniff"

    def test_list_pages_by_itself_in_both_orders(self, sdk: openai.OpenAI) -> None:
        made = [sdk.files.create(file=("l.txt", b"x"), purpose="vision").id for _ in range(5)]
        page = strict_list(FileObject, sdk.files.with_raw_response.list(purpose="vision", limit=2))
        assert [file.id for file in page] == made[:-3:-1]
        every = walked(lambda: sdk.files.list(purpose="vision", limit=2))
        assert [each for each in every if each in made] == made[::-1]
        assert walked(lambda: sdk.files.list(purpose="vision", limit=2, order="asc")) == every[::-1]
        assert walked(lambda: sdk.files.list(purpose="vision")) == every
        assert walked(lambda: sdk.files.list(purpose="batch_output")) == []

    def test_a_deleted_file_is_gone(self, sdk: openai.OpenAI) -> None:
        made = sdk.files.create(file=("d.txt", b"x"), purpose="user_data")
        deleted = strictly(FileDeleted, sdk.files.with_raw_response.delete(made.id))
        assert (deleted.id, deleted.deleted) == (made.id, True)
        for call in (sdk.files.retrieve, sdk.files.content, sdk.files.delete):
            with pytest.raises(openai.NotFoundError):
                call(made.id)
        assert made.id not in walked(lambda: sdk.files.list(purpose="user_data"))


class TestFilenames:
    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("/", "file"),
            ("数据 集.jsonl", "数据 集.jsonl"),
            ("a" * 300, "a" * 255),
            ("\u202egpj.exe", "gpj.exe"),
        ],
    )
    def test_are_names_and_no_paths(self, sdk: openai.OpenAI, given: str, kept: str) -> None:
        made = sdk.files.create(file=(given, b"x"), purpose="user_data")
        assert made.filename == kept
        assert sdk.files.content(made.id).read() == b"x"

    @pytest.mark.parametrize(
        "header",
        [
            b'filename="a\\"; filename=b.txt"',
            b'filename="x\'y%0d%0aset-cookie: a=b"',
            b'filename="\xff\xfe.txt"',
            b"filename*=UTF-8''%0D%0Aset-cookie%3A%20a%3Db",
            b'filename=""',
            b'filename="\x01\x7f"',
        ],
    )
    def test_never_reach_a_header_raw(self, http: httpx2.Client, header: bytes) -> None:
        parts = (
            b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
            b'--b\r\ncontent-disposition: form-data; name="file"; ' + header + b"\r\n\r\nx\r\n--b--\r\n"
        )
        made = http.post("/files", content=parts, headers={"content-type": "multipart/form-data; boundary=b"})
        if made.status_code != 200:
            assert made.status_code == 400
            refusal(made)
            return
        content = http.get(f"/files/{made.json()['id']}/content")
        assert "set-cookie" not in content.headers
        assert content.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
        assert content.headers["content-disposition"].isascii()


def test_nothing_leaks_into_an_empty_project(tenant: Tenant, stack: object) -> None:
    """The list of a project that has just been made is empty, strictly in shape."""
    from tests.wire import new_tenant

    other = new_tenant(tenant.base_url, tenant.database_url).sdk()
    assert strict_list(FileObject, other.files.with_raw_response.list()) == []
