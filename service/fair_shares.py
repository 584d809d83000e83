"""The rule by which projects share places of any kind: concurrent steps, processes, connections, look-ups. Pure.

A free place goes to the project that occupies the fewest, and of several with equally few to the one that has waited
longest: progressive filling, which makes shares max-min fair (Bertsekas and Gallager, Data Networks, 6.5.2). No project
occupies more than half of the places that the others leave, so whatever one project's work does, places stay free.
The queue of jobs uses the same precedence (`service/jobs/queue.py`).
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")


class Waiting(NamedTuple, Generic[Item]):
    """Something that waits for a place. `since` orders it among others, in seconds of any one clock."""

    item: Item
    since: float


def precedence(active: int, since: float) -> tuple[int, float]:
    """The sort key of a project that waits: the places that it occupies, then the time since when it has waited."""
    return active, since


def share(places: int, occupied_by_others: int) -> int:
    """How many places one project may occupy: half of those that the others leave, rounded up, and at least one."""
    return max(1, (places - occupied_by_others + 1) // 2)


def fill(
    waiting: Mapping[str, Sequence[Waiting[Item]]], active: Mapping[str, int], *, places: int
) -> Iterator[tuple[str, Item]]:
    """The (project, item) pairs that get the free places, in order.

    `waiting` has each project's items in the project's own order, `active` the places that projects occupy now.
    """
    occupied = Counter(active)
    free = places - occupied.total()
    heads = [
        (*precedence(occupied[project_id], items[0].since), project_id, 0)
        for project_id, items in waiting.items()
        if items
    ]
    heapq.heapify(heads)
    while heads and free > 0:
        _, _, project_id, place = heapq.heappop(heads)
        if occupied[project_id] >= share(places, occupied.total() - occupied[project_id]):
            continue
        yield project_id, waiting[project_id][place].item
        occupied[project_id] += 1
        free -= 1
        if place + 1 < len(waiting[project_id]):
            following = waiting[project_id][place + 1]
            heapq.heappush(heads, (*precedence(occupied[project_id], following.since), project_id, place + 1))
