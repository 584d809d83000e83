"""The rule of the queue: max-min fair shares of each upstream account between the projects that need it. Pure.

The rule, in order of precedence (docs/limits.md explains it to users):

1. A job may go to the first of its candidate accounts that has a free slot, while its project is under its own limit.
2. Of the projects that need a slot of an account, the one with the fewest active jobs there gets it, and of several
   with equally few the one that has waited longest: since its last admission there, or since its oldest waiting job was
   created (`precedence` in `service/fair_shares.py`).
3. Within a project the highest priority goes first, then the oldest job.

No project starves: one that has no job active at an account waits there for at most one admission of each other
project, and each admission raises that project's share or puts it last.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from service.fair_shares import precedence


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A waiting job. `accounts` are its candidates, the preferred one first; `created_at` is in Unix seconds."""

    job_id: str
    project_id: str
    model: str
    accounts: tuple[str, ...]
    priority: int
    created_at: float

    @property
    def rank(self) -> tuple[int, float, str]:
        """The sort key within its project."""
        return -self.priority, self.created_at, self.job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """A job that occupies a slot; `ends_at` is its expected end in Unix seconds."""

    project_id: str
    account_id: str
    ends_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that the rule depends on, at one moment (`now`, in Unix seconds).

    `slots` has the accounts that take jobs, with their maximum of active jobs; `project_limits` leaves out projects
    without one; `last_admissions` has the last admission of a project at an account, by (account, project).
    """

    now: float
    slots: Mapping[str, int]
    project_limits: Mapping[str, int]
    active: tuple[Active, ...]
    waiting: tuple[Waiting, ...]
    last_admissions: Mapping[tuple[str, str], float]


class Admission(NamedTuple):
    """A job that gets a slot; `at` is the time in Unix seconds."""

    job_id: str
    project_id: str
    account_id: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A job's place in the queue of its account and within its project; 1 is next. `starts_at` is in Unix seconds."""

    overall: int
    in_project: int
    account_id: str
    starts_at: float


def admissions(snapshot: Snapshot) -> Iterator[Admission]:
    """The jobs that get the free slots, in order."""
    queue = _Queue(snapshot)
    while (admitted := queue.admit(snapshot.now)) is not None:
        yield admitted


def predict(snapshot: Snapshot, seconds_of: Callable[[str, str], float], *, max_places: int) -> dict[str, Place]:
    """The place of each waiting job if no job is added and each one takes `seconds_of(model, account)`.

    Simulates at most `max_places` admissions. Jobs beyond them, and jobs that no account takes now, have no place.
    """
    queue = _Queue(snapshot)
    models = {job.job_id: job.model for job in snapshot.waiting}
    ends = [(max(each.ends_at, snapshot.now), number, each) for number, each in enumerate(snapshot.active)]
    heapq.heapify(ends)
    now = snapshot.now
    places: dict[str, Place] = {}
    overall: dict[str, int] = defaultdict(int)
    own: dict[str, int] = defaultdict(int)
    while len(places) < max_places:
        admitted = queue.admit(now)
        if admitted is None:
            if not ends or queue.is_empty:
                break
            now, _, ended = heapq.heappop(ends)
            queue.end(ended)
            continue
        job_id, project_id, account_id, _ = admitted
        overall[account_id] += 1
        own[project_id] += 1
        places[job_id] = Place(
            overall=overall[account_id], in_project=own[project_id], account_id=account_id, starts_at=now
        )
        ends_at = now + seconds_of(models[job_id], account_id)
        running = Active(project_id=project_id, account_id=account_id, ends_at=ends_at)
        heapq.heappush(ends, (ends_at, len(snapshot.active) + len(places), running))
    return places


class _Queue:
    """The state of the rule, which admissions and ends change."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._limits = snapshot.project_limits
        self._free = dict(snapshot.slots)
        self._active_at: dict[tuple[str, str], int] = defaultdict(int)
        self._active_of: dict[str, int] = defaultdict(int)
        for each in snapshot.active:
            self._take(each.account_id, each.project_id)
        self._ages = _ages(snapshot.waiting)
        self._admitted: set[str] = set()
        self._last_admissions: dict[tuple[str, str], tuple[float, int]] = {
            key: (at, 0) for key, at in snapshot.last_admissions.items()
        }
        self._groups = _groups(snapshot.waiting)

    @property
    def is_empty(self) -> bool:
        """Whether no job waits."""
        return not self._groups

    def admit(self, now: float) -> Admission | None:
        """Admit the next job; None if no waiting job can get a slot."""
        open_accounts = {account for account, free in self._free.items() if free > 0}
        chosen = min(self._candidates(open_accounts), default=None, key=lambda pair: self._key(*pair))
        if chosen is None:
            return None
        account_id, project_id = chosen
        groups = self._groups[project_id]
        accounts = min(
            (each for each in groups if _first(each, open_accounts) == account_id),
            key=lambda each: groups[each][0].rank,
        )
        job = groups[accounts].popleft()
        if not groups[accounts]:
            del groups[accounts]
        if not groups:
            del self._groups[project_id]
        self._take(account_id, project_id)
        self._admitted.add(job.job_id)
        self._last_admissions[chosen] = (now, len(self._admitted))
        return Admission(job.job_id, project_id, account_id, now)

    def end(self, ended: Active) -> None:
        """Free an ended job's slot."""
        if ended.account_id in self._free:
            self._free[ended.account_id] += 1
        self._active_at[ended.account_id, ended.project_id] -= 1
        self._active_of[ended.project_id] -= 1

    def _candidates(self, open_accounts: set[str]) -> Iterator[tuple[str, str]]:
        for project_id, groups in self._groups.items():
            if self._active_of[project_id] >= self._limits.get(project_id, self._active_of[project_id] + 1):
                continue
            for accounts in groups:
                account_id = _first(accounts, open_accounts)
                if account_id is not None:
                    yield account_id, project_id

    def _key(self, account_id: str, project_id: str) -> tuple[int, tuple[float, int], str, str]:
        ages = self._ages[project_id]
        while ages[0].job_id in self._admitted:
            ages.popleft()
        last_admission = self._last_admissions.get((account_id, project_id))
        active, since = precedence(self._active_at[account_id, project_id], (ages[0].created_at, 0), last_admission)
        return active, since, project_id, account_id

    def _take(self, account_id: str, project_id: str) -> None:
        if account_id in self._free:
            self._free[account_id] -= 1
        self._active_at[account_id, project_id] += 1
        self._active_of[project_id] += 1


def _ages(waiting: Iterable[Waiting]) -> dict[str, deque[Waiting]]:
    """The waiting jobs by project, the oldest first."""
    ages: dict[str, deque[Waiting]] = defaultdict(deque)
    for job in sorted(waiting, key=lambda each: each.created_at):
        ages[job.project_id].append(job)
    return ages


def _groups(waiting: Iterable[Waiting]) -> dict[str, dict[tuple[str, ...], deque[Waiting]]]:
    """The waiting jobs by project and candidate accounts, each group in the project's order."""
    groups: dict[str, dict[tuple[str, ...], deque[Waiting]]] = defaultdict(lambda: defaultdict(deque))
    for job in sorted(waiting, key=lambda each: each.rank):
        groups[job.project_id][job.accounts].append(job)
    return {project_id: dict(of_project) for project_id, of_project in groups.items()}


def _first(accounts: tuple[str, ...], open_accounts: set[str]) -> str | None:
    return next((each for each in accounts if each in open_accounts), None)
