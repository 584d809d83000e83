"""`adapter` of a job's create: what is accepted, how it is stored, and what goes upstream."""

from typing import Any

import msgspec
import pytest

from service.errors import InvalidRequest
from service.jobs.adapter_settings import MAX_ALPHA, MAX_RANK, MAX_TARGETS, adapter_type, resolve_adapter, sent_adapter
from service.jobs.schemas import CreateJob

JOB = {"model": "smollm2", "training_file": "file-1"}
FULL = {"type": "full", "rank": None, "alpha": None, "dropout": None, "targets": None}


def resolved(adapter: dict[str, Any]) -> dict[str, Any] | None:
    """The adapter of a create's body."""
    return resolve_adapter(msgspec.convert({**JOB, "adapter": adapter}, CreateJob).adapter)


class TestWhatIsAccepted:
    def test_is_stored_whole_and_sent_without_what_the_upstream_chooses(self) -> None:
        adapter = {"type": "lora", "rank": 16, "alpha": 32, "dropout": 0.0, "targets": ["q_proj", "v_proj"]}
        stored = resolved(adapter)
        assert stored == {**adapter, "alpha": 32.0}
        assert sent_adapter(stored) == stored
        ranked = resolved({"rank": 8})
        assert ranked == {"type": "lora", "rank": 8, "alpha": None, "dropout": None, "targets": None}
        assert sent_adapter(ranked) == {"type": "lora", "rank": 8}
        assert resolved({"type": "full"}) == FULL
        assert resolved({"targets": "all-linear"}) == resolved({"targets": ["all-linear"]})

    def test_may_be_left_out(self) -> None:
        assert resolve_adapter(None) is None

    def test_says_what_is_trained(self) -> None:
        assert [adapter_type(None), adapter_type(FULL), adapter_type(resolved({"rank": 8}))] == ["lora", "full", "lora"]


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "adapter",
        [
            {"type": "qlora"},
            {"rank": 0},
            {"rank": MAX_RANK + 1},
            {"rank": 8.5},
            {"alpha": 0},
            {"alpha": MAX_ALPHA + 1},
            {"dropout": -0.1},
            {"dropout": 1},
            {"targets": []},
            {"targets": ["layer"] * (MAX_TARGETS + 1)},
            {"targets": ["q_proj\n"]},
            {"targets": [""]},
            {"targets": "q_proj"},
            {"targets": ["x" * 129]},
            {"bias": "none"},
        ],
        ids=str,
    )
    def test_by_its_form(self, adapter: dict[str, Any]) -> None:
        with pytest.raises(msgspec.ValidationError):
            resolved(adapter)

    @pytest.mark.parametrize("lora", [{"rank": 8}, {"alpha": 1.0}, {"dropout": 0.0}, {"targets": ["q_proj"]}], ids=str)
    def test_lora_s_settings_on_a_full_fine_tuning(self, lora: dict[str, Any]) -> None:
        with pytest.raises(InvalidRequest) as refused:
            resolved({"type": "full", **lora})
        assert (refused.value.param, refused.value.code) == (f"adapter.{next(iter(lora))}", "conflicting_parameters")

    def test_all_layers_and_some(self) -> None:
        with pytest.raises(InvalidRequest) as refused:
            resolved({"targets": ["all-linear", "q_proj"]})
        assert refused.value.param == "adapter.targets"
