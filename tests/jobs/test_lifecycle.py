"""The table of states and moves, and the statuses that callers see."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st
from openai.types.fine_tuning import FineTuningJob

from service.jobs.lifecycle import TRANSITIONS, Status, is_permitted, status_shown, upstream_end
from service.states import ACTIVE, ENDED, QUEUED, State

STATES: tuple[State, ...] = get_args(State)
OPENAI = get_args(FineTuningJob.model_fields["status"].annotation)

states = st.sampled_from(STATES)


class TestMoves:
    def test_every_state_has_its_line(self) -> None:
        assert set(TRANSITIONS) == set(STATES)
        assert all(targets <= set(STATES) for targets in TRANSITIONS.values())

    def test_what_has_ended_stays_so_and_everything_else_can_end(self) -> None:
        assert {state for state, targets in TRANSITIONS.items() if not targets} == set(ENDED)
        for state in set(STATES) - set(ENDED):
            assert set(ENDED) & _reachable(state) >= {"failed", "cancelled"}

    def test_success_is_reached_only_through_every_step(self) -> None:
        sources = {state for state, targets in TRANSITIONS.items() if "succeeded" in targets}
        assert sources == {"settling"}
        for before, after in (
            ("uploading", {"waiting", "creating"}),
            ("creating", {"uploading"}),
            ("running", {"creating"}),
        ):
            assert {state for state, targets in TRANSITIONS.items() if before in targets} == after

    def test_slots_and_queue_do_not_overlap(self) -> None:
        assert not set(ACTIVE) & set(QUEUED)
        assert {*ACTIVE, *QUEUED, *ENDED} == set(STATES)

    @given(st.lists(states, max_size=30))
    def test_no_walk_goes_back(self, wanted: list[State]) -> None:
        """Whatever is tried, no state is entered twice, but for files sent again, and nothing follows an end."""
        walked: list[State] = ["validating"]
        for target in wanted:
            if is_permitted(walked[-1], target):
                walked.append(target)
        others = [state for state in walked if state not in ("uploading", "creating")]
        assert len(set(others)) == len(others)
        assert all(state not in ENDED for state in walked[:-1])


class TestStatus:
    def test_ours_are_openai_s(self) -> None:
        assert set(get_args(Status)) == set(OPENAI)

    @given(states, st.none() | st.text() | st.sampled_from(["paused", "running", "validating_files", "succeeded", ""]))
    def test_is_never_outside_the_enum(self, state: State, upstream: str | None) -> None:
        shown = status_shown(state, upstream)
        assert shown in OPENAI
        assert (shown in ENDED) == (state in ENDED)

    def test_paused_and_unknown_statuses_show_as_queued(self) -> None:
        for upstream in ("paused", "queued", "validating_files", "on_fire", None):
            assert status_shown("running", upstream) == "queued"
        assert status_shown("running", "running") == "running"
        assert status_shown("settling", "succeeded") == "running"

    @given(st.text())
    def test_only_the_three_ends_are_ends(self, upstream: str) -> None:
        assert (upstream_end(upstream) is not None) == (upstream in ENDED)

    def test_ends_keep_their_names(self) -> None:
        assert [upstream_end(end) for end in ENDED] == list(ENDED)


def _reachable(state: State) -> set[State]:
    found: set[State] = set()
    todo = [state]
    while todo:
        for target in TRANSITIONS[todo.pop()] - found:
            found.add(target)
            todo.append(target)
    return found
