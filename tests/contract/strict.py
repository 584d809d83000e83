"""Reading answers as strictly as the SDK's types allow: no coercion, nothing missing."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from openai._legacy_response import LegacyAPIResponse
from pydantic import TypeAdapter
from pydantic_core import to_json

T = TypeVar("T")

_built: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def adapter(kind: type[T]) -> TypeAdapter[T]:
    """The validator of one of the SDK's types. Building one takes up to a third of a second, so each is built once."""
    built: TypeAdapter[T] = _built(kind)
    return built


def strictly(kind: type[T], answer: LegacyAPIResponse[Any]) -> T:
    """The raw answer as the SDK's type `kind`. Raises `ValidationError` where it deviates."""
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    return adapter(kind).validate_json(answer.content, strict=True)


def strict_list(kind: type[T], answer: LegacyAPIResponse[Any]) -> list[T]:
    """The items of a page, whose frame is OpenAI's."""
    page = answer.http_response.json()
    assert set(page) == {"object", "data", "has_more", "first_id", "last_id"}
    assert page["object"] == "list"
    assert isinstance(page["has_more"], bool)
    ids = [item["id"] for item in page["data"]]
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
    items = adapter(list[kind]).validate_python(page["data"])  # type: ignore[valid-type]
    assert strict_items(kind, page["data"]) == items
    return items


def strict_items(kind: type[T], items: list[Any]) -> list[T]:
    """Decoded items as the SDK's type `kind`."""
    return [adapter(kind).validate_json(to_json(item), strict=True) for item in items]


def walked(pages: Callable[[], Any]) -> list[str]:
    """The ids that the SDK finds by paging on its own; none of them twice."""
    ids = [item.id for item in pages()]
    assert len(set(ids)) == len(ids)
    return ids
