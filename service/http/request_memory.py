"""The memory that a request's project occupies with it, from the first byte of the body to the end of the response."""

from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeVar, cast

from service.http.resources import ApiRequest, resource
from service.project_memory import MemoryReservation, ProjectMemory

ON_END = "tunegate_on_end"
"""The key in the scope of the stack that the outermost middleware closes when the response has been sent."""

_RESERVATION = "tunegate_reservation"

Value = TypeVar("Value")


def until_end(request: ApiRequest, manager: AbstractContextManager[Value]) -> Value:
    """Enter a context manager, and leave it when the request ends."""
    stack = cast("ExitStack", _scope(request)[ON_END])
    return stack.enter_context(manager)


def count_memory(request: ApiRequest, owner: str) -> None:
    """Count what the request's bytes occupy for `owner`: a project's id, or another name for callers without one."""
    memory = resource(request, ProjectMemory)
    _scope(request)[_RESERVATION] = until_end(request, memory.reservation(owner))


def reservation_of(request: ApiRequest) -> MemoryReservation:
    """The request's reservation, after `count_memory`."""
    return cast("MemoryReservation", _scope(request)[_RESERVATION])


def _scope(request: ApiRequest) -> dict[str, Any]:
    return cast("dict[str, Any]", request.scope)
