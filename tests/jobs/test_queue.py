"""The rule of the queue: fair shares, priorities, limits, no starvation, and predictions that come true."""

import dataclasses
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.jobs.queue import Active, Admission, Place, Snapshot, Waiting, admissions, predict

NOW = 1_800_000_000.0
ACCOUNT = "account"


def job(number: int, project: str, **changes: Any) -> Waiting:
    """A waiting job; the number is its age, the smallest the oldest."""
    values: dict[str, Any] = {
        "job_id": f"{project}-{number:05}",
        "project_id": project,
        "model": "model",
        "accounts": (ACCOUNT,),
        "priority": 0,
        "created_at": NOW - 10_000 + number,
    }
    return Waiting(**{**values, **changes})


def snapshot(*waiting: Waiting, slots: dict[str, int] | None = None, **changes: Any) -> Snapshot:
    """A queue with these jobs and nothing running."""
    values: dict[str, Any] = {
        "now": NOW,
        "slots": {ACCOUNT: 4} if slots is None else slots,
        "project_limits": {},
        "active": (),
        "waiting": waiting,
        "last_admissions": {},
    }
    return Snapshot(**{**values, **changes})


def active(project: str, count: int = 1, account: str = ACCOUNT) -> tuple[Active, ...]:
    """Running jobs."""
    return tuple(Active(project_id=project, account_id=account, ends_at=NOW + 60 + number) for number in range(count))


def projects(admitted: list[Admission]) -> str:
    """Whose jobs were admitted, in order."""
    return "".join(each.project_id for each in admitted)


def after(before: Snapshot, admitted: list[Admission], *, ended: tuple[Active, ...] = (), now: float) -> Snapshot:
    """The queue after these admissions and ends, as rows would have it."""
    gone = {each.job_id for each in admitted}
    running = [*before.active, *(Active(project_id=a.project_id, account_id=a.account_id, ends_at=0) for a in admitted)]
    for over in ended:
        running.remove(next(r for r in running if (r.project_id, r.account_id) == (over.project_id, over.account_id)))
    last_admissions = dict(before.last_admissions)
    for number, each in enumerate(admitted):
        last_admissions[each.account_id, each.project_id] = before.now + number * 1e-5
    left = tuple(each for each in before.waiting if each.job_id not in gone)
    return dataclasses.replace(before, now=now, active=tuple(running), waiting=left, last_admissions=last_admissions)


class TestShares:
    def test_an_empty_account_is_shared_in_turns_and_the_longest_waiting_project_begins(self) -> None:
        waiting = [job(number, "A") for number in range(50)] + [job(100 + number, "B") for number in range(5)]
        assert projects(list(admissions(snapshot(*waiting)))) == "ABAB"

    def test_a_flood_yields_its_next_slots_to_who_has_fewer(self) -> None:
        waiting = [job(number, "A") for number in range(500)] + [job(900 + number, "B") for number in range(5)]
        full = snapshot(*waiting, active=active("A", 4))
        assert list(admissions(full)) == []
        one_free = dataclasses.replace(full, active=active("A", 3))
        assert projects(list(admissions(one_free))) == "B"
        two_free = dataclasses.replace(full, active=active("A", 2))
        assert projects(list(admissions(two_free))) == "BB"

    def test_with_one_slot_projects_take_turns_however_old_the_flood_is(self) -> None:
        queue = snapshot(
            *(job(number, "A") for number in range(100)), job(5000, "B"), job(5001, "B"), slots={ACCOUNT: 1}
        )
        order = ""
        for round_ in range(6):
            admitted = list(admissions(queue))
            order += projects(admitted)
            queue = after(queue, admitted, ended=queue.active, now=NOW + round_ + 1)
            ended = queue.active
            queue = after(queue, [], ended=ended, now=queue.now)
        assert order == "ABABAA"

    def test_a_share_counts_where_it_is_held_only(self) -> None:
        """Jobs on a project's own account do not cost it its share of the common one."""
        queue = snapshot(
            job(1, "A"), job(2, "B"), slots={ACCOUNT: 2, "own": 9}, active=(*active("A", 5, "own"), *active("B"))
        )
        assert projects(list(admissions(queue))) == "A"


class TestWithinAProject:
    def test_the_highest_priority_goes_first_and_then_the_oldest(self) -> None:
        waiting = [job(1, "A"), job(2, "A", priority=-5), job(3, "A", priority=9), job(4, "A", priority=9)]
        assert [each.job_id for each in admissions(snapshot(*waiting))] == ["A-00003", "A-00004", "A-00001", "A-00002"]

    def test_a_priority_does_not_push_other_projects_back(self) -> None:
        waiting = [job(number, "A", priority=100) for number in range(9)] + [job(50, "B", priority=-100)]
        assert projects(list(admissions(snapshot(*waiting)))) == "ABAA"

    def test_a_project_s_own_limit_holds_over_all_accounts(self) -> None:
        waiting = [job(number, "A", accounts=("one", "two")) for number in range(9)]
        queue = snapshot(*waiting, slots={"one": 2, "two": 5}, project_limits={"A": 4}, active=active("A", 1, "two"))
        assert [each.account_id for each in admissions(queue)] == ["one", "one", "two"]


class TestAccounts:
    def test_a_job_goes_to_its_first_candidate_with_a_free_slot(self) -> None:
        waiting = [job(number, "A", accounts=("own", ACCOUNT)) for number in range(4)]
        admitted = admissions(snapshot(*waiting, slots={"own": 1, ACCOUNT: 2}))
        assert [each.account_id for each in admitted] == ["own", ACCOUNT, ACCOUNT]

    def test_a_job_without_an_account_does_not_hold_the_others_up(self) -> None:
        waiting = [job(1, "A", accounts=(), priority=9), job(2, "A", accounts=("held",)), job(3, "A")]
        assert [each.job_id for each in admissions(snapshot(*waiting))] == ["A-00003"]

    def test_a_limit_below_what_runs_admits_nothing_and_ends_free_slots_one_by_one(self) -> None:
        queue = snapshot(job(1, "A"), slots={ACCOUNT: 1}, active=active("B", 3))
        assert list(admissions(queue)) == []
        assert predict(queue, lambda *_: 10.0, max_places=9)["A-00001"].starts_at == NOW + 62


class TestPrediction:
    def test_places_and_starts(self) -> None:
        queue = snapshot(job(1, "A"), job(2, "A"), job(3, "B"), slots={ACCOUNT: 1}, active=active("B"))
        places = predict(queue, lambda *_: 100.0, max_places=99)
        assert places["A-00001"] == Place(overall=1, in_project=1, account_id=ACCOUNT, starts_at=NOW + 60)
        assert places["B-00003"] == Place(overall=2, in_project=1, account_id=ACCOUNT, starts_at=NOW + 160)
        assert places["A-00002"] == Place(overall=3, in_project=2, account_id=ACCOUNT, starts_at=NOW + 260)

    def test_what_nobody_takes_has_no_place(self) -> None:
        queue = snapshot(job(1, "A", accounts=("held",)), job(2, "A"))
        assert list(predict(queue, lambda *_: 1.0, max_places=99)) == ["A-00002"]

    def test_it_looks_no_further_than_asked(self) -> None:
        queue = snapshot(*(job(number, "A") for number in range(100)))
        assert len(predict(queue, lambda *_: 1.0, max_places=7)) == 7


NAMES = ("A", "B", "C", "D")
ACCOUNTS = ("one", "two", "three")


@st.composite
def queues(draw: st.DrawFn) -> Snapshot:
    """Any queue: several accounts and projects, limits, histories, and jobs that run."""
    slots = {account: draw(st.integers(0, 4)) for account in ACCOUNTS}
    waiting = [
        job(
            number,
            draw(st.sampled_from(NAMES)),
            priority=draw(st.integers(-2, 2)),
            accounts=tuple(draw(st.lists(st.sampled_from(ACCOUNTS), unique=True, max_size=3))),
        )
        for number in range(draw(st.integers(0, 25)))
    ]
    running = [
        Active(
            project_id=draw(st.sampled_from(NAMES)),
            account_id=draw(st.sampled_from((*ACCOUNTS, "gone"))),
            ends_at=NOW + 1 + number,
        )
        for number in range(draw(st.integers(0, 8)))
    ]
    limits = {name: draw(st.integers(0, 5)) for name in NAMES if draw(st.booleans())}
    last_admissions = {
        (account, name): NOW - draw(st.integers(1, 20_000))
        for account in ACCOUNTS
        for name in NAMES
        if draw(st.booleans())
    }
    return snapshot(
        *waiting, slots=slots, project_limits=limits, active=tuple(running), last_admissions=last_admissions
    )


class TestProperties:
    @given(queues())
    def test_no_limit_is_exceeded_and_no_usable_slot_stays_free(self, queue: Snapshot) -> None:
        admitted = list(admissions(queue))
        assert len({each.job_id for each in admitted}) == len(admitted)
        at, of = Counter(each.account_id for each in queue.active), Counter(each.project_id for each in queue.active)
        by_id = {each.job_id: each for each in queue.waiting}
        for each in admitted:
            at[each.account_id] += 1
            of[each.project_id] += 1
            assert each.account_id in by_id[each.job_id].accounts
            assert at[each.account_id] <= queue.slots[each.account_id]
            assert of[each.project_id] <= queue.project_limits.get(each.project_id, 999)
        for left in set(by_id) - {each.job_id for each in admitted}:
            waits = by_id[left]
            if of[waits.project_id] < queue.project_limits.get(waits.project_id, 999):
                assert all(at[account] >= queue.slots[account] for account in waits.accounts)

    @given(queues())
    def test_shares_are_max_min_fair(self, queue: Snapshot) -> None:
        """The project admitted last at an account had no more jobs there than any that could still use the slot."""
        admitted = list(admissions(queue))
        at = Counter((each.account_id, each.project_id) for each in queue.active)
        of = Counter(each.project_id for each in queue.active)
        left = {each.job_id: each for each in queue.waiting}
        free = {
            account: slots - sum(a.account_id == account for a in queue.active)
            for account, slots in queue.slots.items()
        }
        for each in admitted:
            for other in left.values():
                usable = next((account for account in other.accounts if free[account] > 0), None)
                if usable == each.account_id and of[other.project_id] < queue.project_limits.get(other.project_id, 999):
                    assert at[each.account_id, each.project_id] <= at[each.account_id, other.project_id]
            at[each.account_id, each.project_id] += 1
            of[each.project_id] += 1
            free[each.account_id] -= 1
            del left[each.job_id]

    @given(queues())
    def test_within_a_line_nobody_overtakes(self, queue: Snapshot) -> None:
        rank = {each.job_id: (each.project_id, each.accounts, each.rank) for each in queue.waiting}
        seen: dict[tuple[str, tuple[str, ...]], Any] = {}
        for each in predict(queue, lambda *_: 5.0, max_places=999):
            project_id, accounts, own = rank[each]
            assert seen.get((project_id, accounts), own) <= own
            seen[project_id, accounts] = own

    @given(queues())
    def test_the_next_turn_admits_the_first_of_the_prediction(self, queue: Snapshot) -> None:
        admitted = [each.job_id for each in admissions(queue)]
        assert list(predict(queue, lambda *_: 1e9, max_places=999))[: len(admitted)] == admitted

    @given(queues(), st.sampled_from([1.0, 7.0, 1000.0]))
    def test_the_prediction_comes_true_when_nothing_else_changes(self, queue: Snapshot, seconds: float) -> None:
        """Turn by turn, with jobs that end when they were expected to: the order is the one that was foretold."""
        foretold = list(predict(queue, lambda *_: seconds, max_places=999))
        lived: list[str] = []
        ends = [(max(each.ends_at, NOW), number, each) for number, each in enumerate(queue.active)]
        number = len(ends)
        while True:
            admitted = list(admissions(queue))
            for each in admitted:
                running = Active(project_id=each.project_id, account_id=each.account_id, ends_at=queue.now + seconds)
                ends.append((queue.now + seconds, number, running))
                number += 1
            lived += [each.job_id for each in admitted]
            queue = after(queue, admitted, now=queue.now + 1e-3)
            if not ends or not queue.waiting:
                break
            first = min(ends)
            ends.remove(first)
            queue = after(queue, [], ended=(first[2],), now=max(first[0], queue.now))
        assert lived == foretold

    @given(
        st.integers(1, 3), st.integers(1, 200), st.integers(0, 199), st.lists(st.sampled_from(NAMES[1:]), max_size=60)
    )
    def test_nobody_starves(self, slots: int, flood: int, arrives: int, others: list[str]) -> None:
        """A newcomer is admitted after at most one admission of each other project, however many jobs they have."""
        waiting = [job(number, "A") for number in range(flood)]
        waiting += [job(1000 + number, name) for number, name in enumerate(others)]
        queue = snapshot(*waiting, slots={ACCOUNT: slots})
        running: list[Active] = []
        newcomer = job(5000, "new")
        came, before = False, Counter[str]()
        for step in range(400):
            if step == min(arrives, flood - 1) and not came:
                came = True
                queue = dataclasses.replace(
                    queue,
                    waiting=(*queue.waiting, newcomer),
                )
            admitted = list(admissions(queue))
            running += [Active(project_id=a.project_id, account_id=a.account_id, ends_at=0) for a in admitted]
            queue = after(queue, admitted, now=queue.now + 1)
            for each in admitted:
                if came and each.project_id == "new":
                    assert all(count <= 1 for count in before.values()), before
                    return
                before[each.project_id] += came
            if running:
                queue = after(queue, [], ended=(running.pop(0),), now=queue.now)
        pytest.fail("never admitted")
