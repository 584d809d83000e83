"""Resources: each is found by its type, and by nothing else."""

import pytest
from litestar import Litestar, get
from litestar.testing import TestClient

from service.http.resources import ApiRequest, Resources, resource


class Clock:
    """A resource."""

    def __init__(self, hour: int) -> None:
        self.hour = hour


class FastClock(Clock):
    """One that is derived from it."""


class Calendar:
    """Another resource."""


def test_an_object_is_found_by_its_type() -> None:
    clock, calendar = Clock(7), Calendar()
    resources = Resources(clock, calendar)
    assert resources.get(Clock) is clock
    assert resources.get(Calendar) is calendar


def test_two_objects_of_one_type_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="Clock"):
        Resources(Clock(7), Calendar(), Clock(8))


def test_a_type_that_the_app_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match="Calendar"):
        Resources(Clock(7)).get(Calendar)


def test_a_subclass_is_a_type_of_its_own() -> None:
    clock, fast = Clock(7), FastClock(8)
    assert Resources(clock, fast).get(Clock) is clock
    with pytest.raises(KeyError, match="Clock"):
        Resources(fast).get(Clock)


def test_a_route_gets_the_resource_of_the_app_that_serves_it() -> None:
    @get("/hour")
    async def hour(request: ApiRequest) -> int:
        return resource(request, Clock).hour

    for expected in (7, 8):
        app = Litestar([hour], openapi_config=None, logging_config=None)
        app.state.resources = Resources(Clock(expected))
        with TestClient(app) as client:
            assert client.get("/hour").json() == expected
