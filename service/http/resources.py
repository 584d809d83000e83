"""Typed look-up of the objects that the app creates once at start-up: the database, clients, settings.

The app registers them by type, and a route names the type that it needs: `resource(request, Database)`. So a route's
dependencies are visible in its own code, and no domain imports the app or the container of all services.
"""

from typing import Any, TypeVar, cast

from litestar import Request
from litestar.datastructures import State

ApiRequest = Request[Any, Any, State]
Resource = TypeVar("Resource")


class Resources:
    """The objects of one app, at most one of each type.

    Raises `ValueError` for two objects of the same type, which a route could not tell apart.
    """

    def __init__(self, *objects: object) -> None:
        self._by_type: dict[type, object] = {}
        for each in objects:
            if type(each) in self._by_type:
                raise ValueError(f"Two resources have the type {type(each).__name__}.")
            self._by_type[type(each)] = each

    def get(self, kind: type[Resource]) -> Resource:
        """The object of exactly this type. Raises `KeyError`, which names the type, if the app has none."""
        return cast("Resource", self._by_type[kind])


def resource(request: ApiRequest, kind: type[Resource]) -> Resource:
    """The object of this type that belongs to the request's app. Raises `KeyError` if the app has none."""
    resources: Resources = request.app.state.resources
    return resources.get(kind)
