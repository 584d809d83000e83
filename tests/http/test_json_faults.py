"""What a JSON body's refusal says: what is wrong, where in the body, and what to send."""

import gzip

import pytest

from service.errors import InvalidRequest
from service.http.bodies import decode, decode_plain
from service.http.json_faults import PIECE_BYTES, check_json_type
from service.http.wire_types import RequestModel

TEXT = '{"model": "größe"}'


class Named(RequestModel, frozen=True, kw_only=True):
    """A body with one required field."""

    model: str


def fault(raw: bytes) -> InvalidRequest:
    """The refusal of a body."""
    with pytest.raises(InvalidRequest) as refused:
        decode_plain(raw)
    assert not any(word in refused.value.message for word in ("codec", "decode", "byte 0", "surrogates", "utf-8'"))
    return refused.value


class TestEncodings:
    def test_latin_1_has_its_place_in_the_body_and_its_path(self) -> None:
        raw = b'{"messages": [{"role": "user"},\n {"content": "caf\xe9 M\xfcller"}]}'
        refused = fault(raw)
        assert (refused.code, refused.param) == ("invalid_json", "messages[1].content")
        assert f"line 2, column 18 (byte offset {raw.index(0xE9)})" in refused.message
        assert "in 'messages[1].content'" in refused.message
        assert "'é'" in refused.message
        assert refused.message.endswith("Send UTF-8.")

    def test_columns_count_characters_and_offsets_count_bytes(self) -> None:
        assert "line 1, column 13 (byte offset 13)" in fault('{"model": "ü'.encode() + b'\xfc"}').message

    def test_far_into_the_body(self) -> None:
        raw = b'{"a": "' + "ü".encode() * PIECE_BYTES + b'\xfc", "\xfc": "\xfc"}'
        refused = fault(raw)
        assert (refused.param, f"(byte offset {7 + 2 * PIECE_BYTES})" in refused.message) == ("a", True)

    def test_outside_of_every_value(self) -> None:
        refused = fault(b"\xfc")
        assert (refused.param, "line 1, column 1 (byte offset 0)" in refused.message) == (None, True)

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
    def test_byte_order_marks_are_named(self, encoding: str) -> None:
        message = fault(TEXT.encode(encoding)).message
        assert "byte order mark (BOM" in message
        assert "Send UTF-8" in message

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
    def test_without_one(self, encoding: str) -> None:
        assert "is UTF-16 or UTF-32" in fault(TEXT.encode(encoding)).message

    def test_compressed(self) -> None:
        assert "compressed by gzip" in fault(gzip.compress(TEXT.encode())).message

    def test_half_of_a_surrogate_pair_has_its_place(self) -> None:
        refused = fault(b'{"a": 1,\n "b": "x\\ud83d"}')
        assert (refused.code, "line 2, column 9 (byte offset 17)" in refused.message) == ("invalid_character", True)


SYNTAX = [
    (b"{'a': 1}", "line 1, column 2 (byte offset 1): strings and keys have double quotes"),
    (b"{a: 1}", "in double quotes"),
    (b'{"a": 1,}', "trailing comma in object at line 1, column 9"),
    (b'{"a": NaN}', "line 1, column 7 (byte offset 6): `NaN` is not JSON; send null"),
    (b'{"a":\n None}', "line 2, column 2 (byte offset 7): `None` is null in JSON"),
    (b'{"a": True}', "`True` is true in JSON"),
    (b'{"a": tru}', "line 1, column 7"),
    (b'{"a": -Infinity}', "`Infinity` is not JSON"),
    (b'{"a": undefined}', "`undefined` is not JSON"),
    (b"// no\n{}", "JSON has no comments"),
    (b'{"a": "x\ny"}', "line 1, column 9 (byte offset 8): a line break in a string is written \\n"),
    (b'{"a": "C:\\x"}', "invalid escape character in string at line 1, column 11 (byte offset 10)"),
    (b'{"a" 1}', "expected ':' at line 1, column 6"),
    (b'{"a": 1', "ends at line 1, column 8 (byte offset 7), before its JSON is complete"),
    (b'{"a": 1} x', "more follows at line 1, column 10 (byte offset 9)"),
    (b'{"a": 1}\n{"a": 2}\n', "another value follows, as in JSON Lines at line 2, column 1 (byte offset 9)"),
    (b"--b\r\n", "begins like multipart/form-data"),
    (b"<html>", "begins with `<`"),
    (b'{"a": 1e999}', "a number is out of range"),
]


class TestSyntax:
    @pytest.mark.parametrize(("raw", "says"), SYNTAX, ids=lambda value: str(value)[:30])
    def test_fault(self, raw: bytes, says: str) -> None:
        refused = fault(raw)
        assert (refused.code, says in refused.message) == ("invalid_json", True), refused.message
        assert "Send" in refused.message


class TestNotAnObject:
    @pytest.mark.parametrize(
        ("raw", "says"),
        [
            (b'[{"model": "x"}]', "is an array"),
            (b'"x"', "is a string. Send a JSON object."),
            (b'"{\\"model\\": \\"x\\"}"', "was encoded twice"),
            (b"5", "is a number"),
            (b"true", "is a boolean"),
            (b"null", "is null"),
        ],
    )
    def test_kinds(self, raw: bytes, says: str) -> None:
        with pytest.raises(InvalidRequest, match=says) as refused:
            decode(raw, Named)
        assert refused.value.code == "invalid_type"

    @pytest.mark.parametrize("raw", [b"", b" \r\n"])
    def test_empty(self, raw: bytes) -> None:
        with pytest.raises(InvalidRequest, match=r"The body is empty\. Missing required parameter: 'model'"):
            decode(raw, Named)
        assert decode_plain(raw) == {}

    def test_an_object_that_lacks_the_field_is_not_called_empty(self) -> None:
        with pytest.raises(InvalidRequest, match=r"\AMissing"):
            decode(b"{}", Named)


class TestType:
    @pytest.mark.parametrize(
        "accepted",
        ["", "application/json", "Application/JSON; charset=UTF-8", 'application/json; charset="utf8"'],
    )
    def test_accepted(self, accepted: str) -> None:
        check_json_type(accepted)

    @pytest.mark.parametrize(
        ("refused", "says"),
        [
            ("application/json; charset=latin-1", "charset 'latin-1', and JSON is UTF-8"),
            ("application/json; charset=utf-16", "charset 'utf-16'"),
            ("application/x-www-form-urlencoded", "which curl's -d sends by itself"),
            ("text/plain;charset=UTF-8", "which fetch sends"),
            ("multipart/form-data; boundary=b", "which is for files"),
            ("application/xml", "'application/xml'"),
        ],
    )
    def test_refused(self, refused: str, says: str) -> None:
        with pytest.raises(InvalidRequest, match=says) as error:
            check_json_type(refused)
        assert error.value.code == "invalid_content_type"
        assert "Content-Type: application/json" in error.value.message
