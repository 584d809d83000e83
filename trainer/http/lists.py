"""Cursor pages as OpenAI's: `after` is the id of the last item seen."""

from collections.abc import Callable, Sequence
from typing import Any

from litestar import Request

from ..store import Store
from .errors import ApiError

AnyRequest = Request[Any, Any, Any]


def page(
    store: Store,
    request: AnyRequest,
    *,
    table: str,
    where: Sequence[tuple[str, object]],
    show: Callable[[Any], dict[str, Any]],
    default_limit: int,
    max_limit: int = 100,
    ascending: bool = False,
) -> dict[str, Any]:
    """A page of a table, newest first unless `ascending`; 400 on a bad `limit` or an `after` that is not in the list.

    `where` holds conditions with one placeholder each.
    """
    limit = _limit(request, default_limit, max_limit)
    conditions, values = [condition for condition, _ in where], [value for _, value in where]
    after = request.query_params.get("after")
    if after is not None:
        scope = " AND ".join(["id = ?", *conditions])
        cursor = store.row(f"SELECT seq FROM {table} WHERE {scope}", after, *values)
        if cursor is None:
            raise ApiError(400, f"No item {after!r} in this list to continue after.", param="after")
        conditions, values = [*conditions, f"seq {'>' if ascending else '<'} ?"], [*values, cursor["seq"]]
    rows = store.rows(
        f"SELECT * FROM {table}{' WHERE ' if conditions else ''}{' AND '.join(conditions)}"
        f" ORDER BY seq {'ASC' if ascending else 'DESC'} LIMIT ?",
        *values,
        limit + 1,
    )
    data = [show(row) for row in rows[:limit]]
    return {
        "object": "list",
        "data": data,
        "has_more": len(rows) > limit,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def only_queries(request: AnyRequest, *known: str) -> None:
    """Refuse query parameters that are not `known`, with 400; a known name that ends in `[` allows `name[key]`."""
    for name in request.query_params:
        if name not in known and not any(k.endswith("[") and name.startswith(k) and name.endswith("]") for k in known):
            raise ApiError(400, f"Unknown query parameter: {name!r}.", param=name)


def _limit(request: AnyRequest, default: int, maximum: int) -> int:
    given = request.query_params.get("limit")
    if given is None:
        return default
    if not given.isdecimal() or not 1 <= int(given) <= maximum:
        raise ApiError(400, f"limit must be a whole number from 1 to {maximum}, not {given!r}.", param="limit")
    return int(given)
