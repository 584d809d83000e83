"""What a route takes from the process that serves it: databases, clients and settings, each made once at start-up.

The app makes them and keeps them by their type; a route names the type that it needs. So a route's needs stand in its
own lines, and no domain knows the app or what other domains need.
"""

from typing import Any, TypeVar, cast

from litestar import Request
from litestar.datastructures import State

ApiRequest = Request[Any, Any, State]
Resource = TypeVar("Resource")


class Resources:
    """One object of each type. Raises `ValueError` for two of the same type: a route could not tell them apart."""

    def __init__(self, *made: object) -> None:
        self._made = {type(each): each for each in made}
        if len(self._made) != len(made):
            raise ValueError("Two resources have the same type.")

    def get(self, kind: type[Resource]) -> Resource:
        """The object of this type. Raises `KeyError` if the app made none."""
        return cast("Resource", self._made[kind])


def resource(request: ApiRequest, kind: type[Resource]) -> Resource:
    """The object of this type that the app of this request made at its start."""
    resources: Resources = request.app.state.resources
    return resources.get(kind)
