"""Refuses compressed bodies: what a request's bytes occupy is limited and counted as they arrive, not as they expand.

A compressed *file* is different: its bytes are stored as they are, and preparations read `x.jsonl.gz`.
"""

from typing import Any

from litestar import Request
from multipart import MultipartSegment

from service.errors import UnsupportedMediaType

SHOWN_CHARACTERS = 64
_PLAIN_TRANSFERS = ("7bit", "8bit", "binary")


def check_encoding(request: Request[Any, Any, Any]) -> None:
    """Raises `UnsupportedMediaType` for a body with a `Content-Encoding` other than `identity` (RFC 9110)."""
    declared = ", ".join(request.headers.getall("content-encoding", []))
    if _encoded(declared):
        raise UnsupportedMediaType(
            f"The request has the header `Content-Encoding: {declared[:SHOWN_CHARACTERS]}`, and bodies are read as "
            "they are. Send the body uncompressed, without this header.",
            headers={"accept-encoding": "identity"},
        )


def check_part_encoding(part: MultipartSegment, name: str) -> None:
    """Raises `UnsupportedMediaType` for a part whose bytes are not those of its content.

    RFC 7578, section 4.7, has deprecated `Content-Transfer-Encoding` in forms; those that change nothing pass.
    """
    for header in ("Content-Encoding", "Content-Transfer-Encoding"):
        declared = part.header(header) or ""
        if _encoded(declared) and declared.strip().lower() not in _PLAIN_TRANSFERS:
            raise UnsupportedMediaType(
                f"The part `{name}` has the header `{header}: {declared[:SHOWN_CHARACTERS]}`, and parts are stored as "
                "they are. Send its bytes as they are, without this header; a compressed file keeps its name, as in "
                "`train.jsonl.gz`.",
                param=name,
            )


def _encoded(declared: str) -> bool:
    return any(coding.strip().lower() not in ("", "identity") for coding in declared.split(","))
