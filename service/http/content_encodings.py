"""Refuses compressed bodies: what a request's bytes occupy is limited and counted as they arrive, not as they expand.

A compressed *file* is different: its bytes are stored as they are, and preparations read `x.jsonl.gz`.
"""

from typing import Any

from litestar import Request
from multipart import MultipartSegment

from service.errors import UnsupportedMediaType

SHOWN_CHARACTERS = 64


def check_encoding(request: Request[Any, Any, Any]) -> None:
    """Raises `UnsupportedMediaType` for a body whose `Content-Encoding` or `Transfer-Encoding` compresses it (RFC 9110,
    RFC 9112)."""
    for header, plain in (("Content-Encoding", ()), ("Transfer-Encoding", ("chunked",))):
        declared = ", ".join(request.headers.getall(header, []))
        if not _encoded(declared, plain):
            continue
        raise UnsupportedMediaType(
            f"The request has the header `{header}: {declared[:SHOWN_CHARACTERS]}`, and bodies are read as "
            "they are. Send the body uncompressed, without this header.",
            headers={"accept-encoding": "identity"},
        )


def check_part_encoding(part: MultipartSegment, name: str) -> None:
    """Raises `UnsupportedMediaType` for a part whose bytes are not those of its content.

    RFC 7578, section 4.7, has deprecated `Content-Transfer-Encoding` in forms; those that change nothing pass.
    """
    for header, plain in (("Content-Encoding", ()), ("Content-Transfer-Encoding", ("7bit", "8bit", "binary"))):
        declared = part.header(header) or ""
        if _encoded(declared, plain):
            raise UnsupportedMediaType(
                f"The part `{name}` has the header `{header}: {declared[:SHOWN_CHARACTERS]}`, and parts are stored as "
                "they are. Send its bytes as they are, without this header; a compressed file keeps its name, as in "
                "`train.jsonl.gz`.",
                param=name,
            )


def _encoded(declared: str, plain: tuple[str, ...]) -> bool:
    return any(coding.strip().lower() not in ("", "identity", *plain) for coding in declared.split(","))
