"""The places of inference calls in one API process. Projects share them, so a hanging upstream occupies a part only."""

from service.errors import RateLimited
from service.fair_places import FairPlaces
from service.http.request_memory import until_end
from service.http.resources import ApiRequest, resource


class InferencePlaces(FairPlaces):
    """The places of this process. Their number is `TUNEGATE_MAX_INFERENCE_CALLS`."""


def occupy_place(request: ApiRequest, project_id: str) -> None:
    """Occupy a place until the request ends. Raises `RateLimited` when the project has its share."""
    places = resource(request, InferencePlaces)
    if not until_end(request, places.occupy_at_once(project_id)):
        raise RateLimited(
            f"This project has {places.occupied_by(project_id)} inference calls in progress, which is its share of the "
            f"{places.places} of this process (TUNEGATE_MAX_INFERENCE_CALLS). Wait for some to end.",
            code="concurrency_limit_exceeded",
            retry_after_seconds=1,
        )
