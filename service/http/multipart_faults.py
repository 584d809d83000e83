"""What is wrong with a multipart body, in words that say what to send."""

from multipart import MultipartError

from service.errors import InvalidRequest
from service.http.content_encodings import SHOWN_CHARACTERS
from service.http.dispositions import parameters_of

SHOWN_BYTES = 80
"""The first bytes of a body, which show its boundary."""

SHOWN_NAMES = 8

_ADVICE_BY_TYPE = {
    "": "The request has no `Content-Type`",
    "application/x-www-form-urlencoded": "The `Content-Type` is `application/x-www-form-urlencoded`, as of curl's -d",
    "application/octet-stream": "The `Content-Type` is `application/octet-stream`, as of the bytes of a file alone",
}
_NAMES_BY_TYPE = {
    "text/csv": "file.csv",
    "text/tab-separated-values": "file.tsv",
    "application/json": "file.json",
    "application/jsonl": "file.jsonl",
    "application/x-ndjson": "file.jsonl",
}
_GZIP = b"\x1f\x8b"
_LINE_ENDS = "Its lines must end with CRLF (\\r\\n), and some end with LF alone."
_ADVICE_BY_ERROR = {
    "Invalid line break after first boundary": _LINE_ENDS,
    "Invalid line break in segment header": _LINE_ENDS,
    "Unexpected byte in front of first boundary": "The first boundary is not at the beginning of a line.",
    "Unexpected byte after first boundary": "The line of the first boundary has more than the boundary.",
    "Malformed segment header": "A header of a part has no colon.",
    "Invalid segment header name": "The name of a part's header has characters that no name may have.",
    "Missing Content-Disposition segment header": "A part has no `Content-Disposition` header.",
    "Invalid Content-Disposition segment header: Wrong type": "A part's `Content-Disposition` is not `form-data`.",
    "Segment Content-Length exceeded": "A part is longer than its `Content-Length` says.",
    "Segment size does not match Content-Length header": "A part is shorter than its `Content-Length` says.",
}


def boundary_of(content_type: str, file_field: str) -> str:
    """The boundary of a multipart body. Raises `InvalidRequest` for another type, and for one without a boundary."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        what = _ADVICE_BY_TYPE.get(media_type, f"The `Content-Type` is `{media_type[:SHOWN_CHARACTERS]}`")
        raise InvalidRequest(f"{what}. {_how_to_send(file_field)}", code="invalid_content_type")
    boundary = parameters_of(content_type).get("boundary")
    if not boundary:
        raise InvalidRequest(
            "The header `Content-Type: multipart/form-data` has no boundary. Leave the header to the HTTP client, "
            f"which adds the boundary that it writes into the body. {_how_to_send(file_field)}",
            code="invalid_content_type",
        )
    return boundary


def text_for_file(file_field: str) -> InvalidRequest:
    """The refusal of a text field in the file's place."""
    return InvalidRequest(
        f"The field `{file_field}` is a text, not a file: its part has no filename. {_how_to_send(file_field)}",
        param=file_field,
    )


def given_twice(name: str) -> InvalidRequest:
    """The refusal of a text field that comes again: which of the two is meant cannot be known."""
    return InvalidRequest(f"The field `{name}` is given twice. Send it once.", param=name)


def second_file(file_field: str) -> InvalidRequest:
    """The refusal of a second file."""
    return InvalidRequest(
        f"The field `{file_field}` is given twice. Send one file in a request, and each other file in another.",
        param=file_field,
    )


def missing_file(file_field: str, fields: dict[str, str]) -> InvalidRequest:
    """The refusal of a body without the file's field."""
    names = ", ".join(f"'{name[:SHOWN_CHARACTERS]}'" for name in list(fields)[:SHOWN_NAMES])
    has = f"The body has {names} only. " if names else "The body has no fields. "
    return InvalidRequest(
        f"Missing required parameter: '{file_field}'. {has}{_how_to_send(file_field)}",
        param=file_field,
        code="missing_required_parameter",
    )


def name_by_type(content_type: str | None) -> str | None:
    """The name of a file whose part has none, by the part's type, since the name decides how a file is read."""
    return _NAMES_BY_TYPE.get(content_type or "")


def malformed(error: MultipartError, *, boundary: str, start: bytes, has_parts: bool) -> InvalidRequest:
    """The refusal of a body that the parser does not accept. `start` is the body's beginning."""
    message = str(error.args[0]) if error.args else ""
    if not message.startswith("Unexpected end"):
        what = _ADVICE_BY_ERROR.get(message, f"{message}.")
        return InvalidRequest(
            f"The multipart body is malformed. {what} Let an HTTP library write it.", code="invalid_multipart"
        )
    if has_parts or f"--{boundary}".encode() in start:
        what = f"ends before its closing boundary `--{boundary}--`: it is cut. Send it again, whole"
    elif not start:
        what = "is empty. Send the file in it"
    elif start.startswith(_GZIP):
        what = "is compressed by gzip. Send it uncompressed; the file in it may be compressed, as `train.jsonl.gz`"
    else:
        what = f"does not contain the boundary `{boundary}` that the `Content-Type` names{_other_boundary(start)}"
        what += ". Leave the header to the HTTP client, which writes the boundary in both places"
    return InvalidRequest(f"The multipart body {what}.", code="invalid_multipart")


def _other_boundary(start: bytes) -> str:
    line = start.partition(b"\n")[0].strip()
    if not line.startswith(b"--") or len(line) >= SHOWN_BYTES - 1:
        return ""
    return f"; it begins with the boundary `{line[2:].decode('ascii', 'replace')}`"


def _how_to_send(file_field: str) -> str:
    if file_field == "file":
        how = 'with curl -F file=@train.jsonl, with the SDK file=open("train.jsonl", "rb")'
    else:
        how = f"with curl -F {file_field}=@part.bin, with the SDK {file_field}=…"
    return f"Send multipart/form-data, with the bytes in the field `{file_field}`: {how}. They set the `Content-Type`."
