"""The places of one worker for the calls of runs, which projects share."""

from service.fair_places import FairPlaces
from service.settings import Settings
from service.worker_places import RUNS


def call_places(settings: Settings) -> FairPlaces:
    """The places for calls in flight. A project's share is that of its runs, each with as many calls as it may have.

    Calls that outlive their run, as after a cancellation, occupy their places until they are answered.
    """
    return FairPlaces(RUNS * settings.run_concurrency)
