"""What a create may ask for, and what a dataset must be for it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.fine_tuning import FineTuningJob
from pydantic import TypeAdapter

from service.catalogue.base_models import BaseModel
from service.catalogue.models_file import load
from service.datasets.report_schema import FileReport, pending_report
from service.errors import InvalidRequest
from service.jobs.rules import (
    MAX_GRADER_BYTES,
    check_metadata,
    check_method,
    dataset_fault,
    hyperparameters_of,
    requested_epochs,
    resolve_method,
    tuned_name,
    with_epochs,
)
from service.jobs.schemas import (
    Dpo,
    DpoHyperparameters,
    Hyperparameters,
    Method,
    Reinforcement,
    Supervised,
)

CATALOGUE = load()


def model(name: str) -> BaseModel:
    """A model of the shipped catalogue."""
    found = CATALOGUE.find(name)
    assert found is not None
    return found


def report(*, format: str, examples: int = 10, errors: int = 0) -> FileReport:
    """A ready report."""
    pending = pending_report(file_id="file-1", model="gpt-4o", max_tokens=1, bytes_total=1, bytes_done=1)
    return msgspec.convert(
        {**msgspec.to_builtins(pending), "status": "ready", "format": format, "examples": examples, "errors": errors},
        FileReport,
    )


class TestMethod:
    def test_nothing_means_supervised_and_auto(self) -> None:
        method = resolve_method(None, None)
        auto = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
        assert method == {"type": "supervised", "supervised": {"hyperparameters": auto}}
        assert requested_epochs(method) is None

    def test_the_deprecated_field_is_folded_in(self) -> None:
        old = resolve_method(None, Hyperparameters(n_epochs=4))
        new = resolve_method(
            Method(type="supervised", supervised=Supervised(hyperparameters=Hyperparameters(n_epochs=4))), None
        )
        assert old == new
        assert requested_epochs(old) == 4

    def test_resolved_epochs_change_nothing_else(self) -> None:
        method = resolve_method(Method(type="dpo", dpo=Dpo(hyperparameters=DpoHyperparameters(beta=0.2))), None)
        resolved = with_epochs(method, 3)
        assert hyperparameters_of(resolved) == {**hyperparameters_of(method), "n_epochs": 3}
        assert requested_epochs(method) is None

    def test_both_places_at_once(self) -> None:
        with pytest.raises(InvalidRequest) as refused:
            resolve_method(Method(type="supervised"), Hyperparameters())
        assert refused.value.param == "hyperparameters"

    @given(
        st.sampled_from(["supervised", "dpo", "reinforcement"]),
        st.one_of(st.just("auto"), st.integers(1, 50)),
        st.one_of(st.just("auto"), st.integers(1, 256)),
        st.one_of(st.just("auto"), st.floats(0.001, 100)),
    )
    def test_is_always_what_the_sdk_reads(self, kind: Any, epochs: Any, batch: Any, rate: Any) -> None:
        given = {"n_epochs": epochs, "batch_size": batch, "learning_rate_multiplier": rate}
        wanted = msgspec.convert(
            {"type": kind, kind: {"hyperparameters": given, **({"grader": {}} if kind == "reinforcement" else {})}},
            Method,
        )
        method = resolve_method(wanted, None)
        if kind == "reinforcement":
            grader = {"type": "string_check", "name": "n", "input": "i", "reference": "r", "operation": "eq"}
            method = {**method, kind: {**method[kind], "grader": grader}}
        annotation: Any = FineTuningJob.model_fields["method"].annotation
        read = TypeAdapter(annotation).validate_json(msgspec.json.encode(method), strict=True)
        assert getattr(read, kind).hyperparameters.n_epochs == epochs


class TestGrader:
    def test_one_that_is_too_large_is_refused_with_the_limit(self) -> None:
        def resolved(text: str) -> dict[str, Any]:
            return resolve_method(
                Method(type="reinforcement", reinforcement=Reinforcement(grader={"source": text})), None
            )

        largest = "a" * (MAX_GRADER_BYTES - len('{"source":""}'))
        assert resolved(largest)["reinforcement"]["grader"] == {"source": largest}
        with pytest.raises(InvalidRequest, match=f"{MAX_GRADER_BYTES:,}") as refused:
            resolved(largest + "a")
        assert (refused.value.code, refused.value.param) == ("invalid_value", "method.reinforcement.grader")


class TestModelAndMethod:
    def test_models_are_trained_by_their_methods_only(self) -> None:
        with pytest.raises(InvalidRequest, match="it can by: supervised"):
            check_method({"type": "dpo"}, model("gpt-3.5-turbo"))
        check_method({"type": "dpo"}, model("gpt-4o"))

    def test_what_is_billed_by_the_hour_has_no_upper_bound(self) -> None:
        method = resolve_method(Method(type="reinforcement", reinforcement=Reinforcement(grader={})), None)
        with pytest.raises(InvalidRequest, match="by the hour"):
            check_method(method, model("o4-mini"))


class TestDataset:
    @pytest.mark.parametrize(
        ("format", "method", "name", "code"),
        [
            ("chat", "supervised", "gpt-4o", None),
            ("preference", "dpo", "gpt-4o", None),
            ("completion", "supervised", "davinci-002", None),
            ("chat", "supervised", "davinci-002", "invalid_file_format"),
            ("completion", "supervised", "gpt-4o", "invalid_file_format"),
            ("preference", "supervised", "gpt-4o", "invalid_file_format"),
            ("chat", "dpo", "gpt-4o", "invalid_file_format"),
        ],
    )
    def test_format(self, format: str, method: str, name: str, code: str | None) -> None:
        fault = dataset_fault(report(format=format), method_type=method, model=model(name), param="training_file")
        assert (fault.code if fault else None) == code

    @pytest.mark.parametrize(
        ("format", "name", "says"),
        [
            ("completion", "gpt-4o", "Models that are trained on it: davinci-002, babbage-002."),
            ("preference", "gpt-4o", "The method 'dpo' trains gpt-4o-2024-08-06 on it."),
        ],
    )
    def test_a_file_of_another_format_names_what_trains_on_it(self, format: str, name: str, says: str) -> None:
        fault = dataset_fault(
            report(format=format),
            method_type="supervised",
            model=model(name),
            param="training_file",
            others=CATALOGUE.models,
        )
        assert fault is not None
        assert fault.message.endswith(says)

    @pytest.mark.parametrize(("param", "faulty"), [("training_file", True), ("validation_file", False)])
    def test_ten_examples_are_for_training_only(self, param: str, faulty: bool) -> None:
        fault = dataset_fault(
            report(format="chat", examples=9), method_type="supervised", model=model("gpt-4o"), param=param
        )
        assert (fault is not None) == faulty

    @pytest.mark.parametrize("param", ["training_file", "validation_file"])
    def test_errors_come_first(self, param: str) -> None:
        fault = dataset_fault(
            report(format="preference", examples=1, errors=3),
            method_type="supervised",
            model=model("gpt-4o"),
            param=param,
        )
        assert fault is not None
        assert (fault.code, fault.param) == (f"invalid_{param}", param)


class TestMetadata:
    @given(st.dictionaries(st.text(min_size=1, max_size=64), st.text(max_size=512), max_size=16))
    def test_within_the_limits(self, metadata: dict[str, str]) -> None:
        check_metadata(metadata)

    @pytest.mark.parametrize("metadata", [{str(n): "" for n in range(17)}, {"k" * 65: ""}, {"": ""}, {"k": "v" * 513}])
    def test_beyond(self, metadata: dict[str, str]) -> None:
        with pytest.raises(InvalidRequest):
            check_metadata(metadata)


class TestName:
    def test_is_openai_s_form(self) -> None:
        name = tuned_name(base="gpt-4o", organization="acme", suffix="My Model!", job_id="ftjob-" + "0" * 14 + "a" * 12)
        assert name == f"ft:gpt-4o:acme:my-model:{'a' * 12}"

    def test_of_a_tuned_base_its_base_counts(self) -> None:
        assert tuned_name(base="ft:gpt-4o:acme::x", organization="acme", suffix=None, job_id="ftjob-1") == (
            "ft:gpt-4o:acme::1"
        )

    @given(st.text(min_size=1, max_size=64))
    def test_always_has_five_parts_and_fits_a_path(self, suffix: str) -> None:
        name = tuned_name(base="gpt-4o", organization="acme", suffix=suffix, job_id="ftjob-1")
        assert name.count(":") == 4
        assert name.isascii()
        assert "/" not in name
        assert " " not in name
