"""Whose job is next: max-min fair shares of each upstream account between the projects that want it. Pure.

The rule, in the order in which it decides (docs/limits.md explains it to users):

1. A job may go to the first of its candidate accounts that has a free slot, while its project is under its own limit.
2. Of the projects that want a slot of an account, the one with the fewest active jobs there gets it: progressive
   filling, which makes shares max-min fair (Bertsekas and Gallager, Data Networks, 6.5.2).
3. Of several with equally few, the one that has waited longest: since its last admission there, or since its oldest
   waiting job was created. So they take turns, and a flood of old jobs is one project that waits, not many.
4. Within a project the highest priority goes first, then the oldest job.

No project starves: one that has no job active at an account waits there for at most one admission of each other
project, and each admission raises that project's share or puts it behind.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job that waits. `accounts` are its candidates, the preferred one first; `created_at` in unix seconds."""

    job_id: str
    project_id: str
    model: str
    accounts: tuple[str, ...]
    priority: int
    created_at: float

    @property
    def rank(self) -> tuple[int, float, str]:
        """Its order within its project, the smallest first."""
        return -self.priority, self.created_at, self.job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """A job that holds a slot; `ends_at` is when it is expected to end, in unix seconds."""

    project_id: str
    account_id: str
    ends_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that the rule looks at, at one moment (`now`, in unix seconds).

    `slots` has the accounts that take jobs, with how many may be active there; `project_limits` leaves out projects
    without one; `turns` has the last admission of a project at an account, by (account, project).
    """

    now: float
    slots: Mapping[str, int]
    project_limits: Mapping[str, int]
    active: tuple[Active, ...]
    waiting: tuple[Waiting, ...]
    turns: Mapping[tuple[str, str], float]


class Admission(NamedTuple):
    """A job that gets a slot; `at` is when, in unix seconds."""

    job_id: str
    project_id: str
    account_id: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a job stands: 1 is next, of those who want its account, and within its project."""

    overall: int
    in_project: int
    account_id: str
    starts_at: float


def admissions(snapshot: Snapshot) -> Iterator[Admission]:
    """The jobs that the free slots go to, in order."""
    queue = _Queue(snapshot)
    while (admitted := queue.admit(snapshot.now)) is not None:
        yield admitted


def predict(snapshot: Snapshot, seconds_of: Callable[[str, str], float], *, most: int) -> dict[str, Place]:
    """The place of each waiting job if nothing else comes and each job takes as long as `seconds_of(model, account)`.

    At most so many admissions are looked ahead; jobs beyond, or that no account takes now, have no place.
    """
    queue = _Queue(snapshot)
    models = {job.job_id: job.model for job in snapshot.waiting}
    ends = [(max(each.ends_at, snapshot.now), number, each) for number, each in enumerate(snapshot.active)]
    heapq.heapify(ends)
    now = snapshot.now
    places: dict[str, Place] = {}
    overall: dict[str, int] = defaultdict(int)
    own: dict[str, int] = defaultdict(int)
    while len(places) < most:
        admitted = queue.admit(now)
        if admitted is None:
            if not ends or not queue.anybody:
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
    """The rule's state, changed by admissions and ends."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._limits = snapshot.project_limits
        self._free = dict(snapshot.slots)
        self._at: dict[tuple[str, str], int] = defaultdict(int)
        self._of: dict[str, int] = defaultdict(int)
        for each in snapshot.active:
            self._take(each.account_id, each.project_id)
        self._ages = _ages(snapshot.waiting)
        self._gone: set[str] = set()
        self._turns: dict[tuple[str, str], tuple[float, int]] = {key: (at, 0) for key, at in snapshot.turns.items()}
        self._lines = _lines(snapshot.waiting)

    @property
    def anybody(self) -> bool:
        """Whether any job waits."""
        return bool(self._lines)

    def admit(self, now: float) -> Admission | None:
        """The next job, if there is a slot for any."""
        open_accounts = {account for account, free in self._free.items() if free > 0}
        chosen = min(self._wanted(open_accounts), default=None, key=lambda pair: self._key(*pair))
        if chosen is None:
            return None
        account_id, project_id = chosen
        lines = self._lines[project_id]
        accounts = min(
            (each for each in lines if _first(each, open_accounts) == account_id), key=lambda each: lines[each][0].rank
        )
        job = lines[accounts].popleft()
        if not lines[accounts]:
            del lines[accounts]
        if not lines:
            del self._lines[project_id]
        self._take(account_id, project_id)
        self._gone.add(job.job_id)
        self._turns[chosen] = (now, len(self._gone))
        return Admission(job.job_id, project_id, account_id, now)

    def end(self, ended: Active) -> None:
        """Give a job's slot back."""
        if ended.account_id in self._free:
            self._free[ended.account_id] += 1
        self._at[ended.account_id, ended.project_id] -= 1
        self._of[ended.project_id] -= 1

    def _wanted(self, open_accounts: set[str]) -> Iterator[tuple[str, str]]:
        for project_id, lines in self._lines.items():
            if self._of[project_id] >= self._limits.get(project_id, self._of[project_id] + 1):
                continue
            for accounts in lines:
                account_id = _first(accounts, open_accounts)
                if account_id is not None:
                    yield account_id, project_id

    def _key(self, account_id: str, project_id: str) -> tuple[int, tuple[float, int], str, str]:
        ages = self._ages[project_id]
        while ages[0].job_id in self._gone:
            ages.popleft()
        since = max(self._turns.get((account_id, project_id), (0.0, 0)), (ages[0].created_at, 0))
        return self._at[account_id, project_id], since, project_id, account_id

    def _take(self, account_id: str, project_id: str) -> None:
        if account_id in self._free:
            self._free[account_id] -= 1
        self._at[account_id, project_id] += 1
        self._of[project_id] += 1


def _ages(waiting: Iterable[Waiting]) -> dict[str, deque[Waiting]]:
    """The waiting jobs by project, the oldest first."""
    ages: dict[str, deque[Waiting]] = defaultdict(deque)
    for job in sorted(waiting, key=lambda each: each.created_at):
        ages[job.project_id].append(job)
    return ages


def _lines(waiting: Iterable[Waiting]) -> dict[str, dict[tuple[str, ...], deque[Waiting]]]:
    """The waiting jobs by project and candidates, each line in the order of the project."""
    lines: dict[str, dict[tuple[str, ...], deque[Waiting]]] = defaultdict(lambda: defaultdict(deque))
    for job in sorted(waiting, key=lambda each: each.rank):
        lines[job.project_id][job.accounts].append(job)
    return {project_id: dict(of_project) for project_id, of_project in lines.items()}


def _first(accounts: tuple[str, ...], open_accounts: set[str]) -> str | None:
    return next((each for each in accounts if each in open_accounts), None)
