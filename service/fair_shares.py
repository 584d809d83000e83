"""The rule by which projects share places of any kind: concurrent steps, processes, connections, look-ups. Pure.

A free place goes to the project that occupies the fewest, and of several with equally few to the one that has waited
longest: progressive filling, which makes shares max-min fair (Bertsekas and Gallager, Data Networks, 6.5.2). No project
occupies more than half of the places that the others leave, so whatever one project's work does, places stay free.

The queue of jobs (`service/jobs/queue.py`) uses the same precedence, with slots of accounts in place of shares.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Moment = TypeVar("Moment", float, tuple[float, int])


class Waiting(NamedTuple, Generic[Item]):
    """Something that waits for a place. `since` orders it among others, in seconds of any one clock."""

    item: Item
    since: float


def precedence(active: int, waiting_since: Moment, last_admission: Moment | None) -> tuple[int, Moment]:
    """The sort key of a project that waits: the places that it occupies, then the time since when it has waited.

    It has waited since its last admission at the longest, however old its work is: projects with equally few places
    alternate, and a flood of old work counts as one project that waits.
    """
    return active, waiting_since if last_admission is None else max(waiting_since, last_admission)


def share(places: int, occupied_by_others: int) -> int:
    """How many places one project may occupy: half of those that the others leave, rounded up, and at least one."""
    return max(1, (places - occupied_by_others + 1) // 2)


def fill(
    waiting: Mapping[str, Sequence[Waiting[Item]]],
    active: Mapping[str, int],
    *,
    places: int,
    last_admissions: Mapping[str, float] | None = None,
) -> Iterator[tuple[str, Item]]:
    """The (project, item) pairs that get the free places, in order.

    `waiting` has each project's items in the project's own order, `active` the places that projects occupy now,
    `last_admissions` when projects that wait were last given a place, on the clock of `since`.
    """
    occupied = Counter(active)
    free = places - occupied.total()
    last = last_admissions or {}
    admitted = 0
    heads = [
        (*precedence(occupied[project_id], items[0].since, last.get(project_id)), 0, project_id, 0)
        for project_id, items in waiting.items()
        if items
    ]
    heapq.heapify(heads)
    while heads and free > 0:
        *_, project_id, place = heapq.heappop(heads)
        if occupied[project_id] >= share(places, occupied.total() - occupied[project_id]):
            continue
        yield project_id, waiting[project_id][place].item
        occupied[project_id] += 1
        free -= 1
        admitted += 1
        if place + 1 < len(waiting[project_id]):
            heapq.heappush(heads, (occupied[project_id], float("inf"), admitted, project_id, place + 1))
