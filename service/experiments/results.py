"""What the arms show: the one to use, what more data would give, and whether its model may be promoted. Pure."""

from collections.abc import Sequence

import msgspec

from service.experiments.arms import ArmSettings, varied
from service.jobs.curves.data_scaling import DataScaling, ScalingPoint, estimate
from service.jobs.curves.recommendation import ArmResult, recommend
from service.jobs.deployment import DeployComparison, why_not
from service.runs.comparisons.grading import ComparisonOutcome
from service.runs.comparisons.options import ComparisonPlanOptions, Condition
from service.runs.comparisons.statistics import Estimate
from service.states import RunStatus


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """An arm whose job has succeeded. `valid_loss` is the last one, which is that of the model."""

    arm: int
    job_id: str
    model: str
    examples: int
    valid_loss: float | None
    cost_micros: int


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison of the arms as it ended."""

    status: RunStatus
    options: ComparisonPlanOptions
    outcome: ComparisonOutcome | None

    def place(self, model: str) -> int | None:
        """The place of a model among those that were compared."""
        return next((place for place, each in enumerate(self.options.models) if each.model == model), None)


class Recommended(msgspec.Struct, frozen=True, kw_only=True):
    """The arm to use and why; `arm` and `model` are null if nothing tells which is best. `tied` are no different
    from it by what decided."""

    arm: int | None
    model: str | None
    tied: list[int]
    reason: str


def losses_are_comparable(arms: Sequence[ArmSettings], encodings: Sequence[str]) -> bool:
    """Whether a lower validation loss means a better arm: not across tokenizers, since a loss is by the token, and not
    across values of DPO's beta, which scales it."""
    return len(set(encodings)) <= 1 and "beta" not in varied(arms)


def recommendation(results: Sequence[Result], compared: Compared | None, *, comparable: bool) -> Recommended:
    """The arm to use: by the comparison's scores, or by validation losses where they are `comparable`."""
    figures = [
        ArmResult(
            arm=each.arm,
            valid_loss=each.valid_loss if comparable else None,
            cost_micros=each.cost_micros,
            score=_score(compared, each.model),
        )
        for each in results
    ]
    found = recommend(figures)
    if found is None:
        reason = (
            "No arm has a validation loss or a score to decide by: give a `validation_file`, or request a `comparison`."
            if comparable
            else "Validation losses of different tokenizers, or of different values of `beta`, cannot be compared: "
            "request a `comparison`."
        )
        return Recommended(arm=None, model=None, tied=[], reason=reason)
    model = next(each.model for each in results if each.arm == found.arm)
    return Recommended(arm=found.arm, model=model, tied=found.tied, reason=found.reason)


def data_scaling(arms: Sequence[ArmSettings], results: Sequence[Result]) -> DataScaling | None:
    """What twice the data would give; None unless the arms differ by their share of the data, and at most by seeds."""
    differing = set(varied(arms))
    if "data_share" not in differing or not differing <= {"data_share", "seed"}:
        return None
    return estimate([ScalingPoint(each.examples, each.valid_loss) for each in results if each.valid_loss is not None])


def refusal_of_promotion(
    recommended: Recommended, comparison: DeployComparison | None, compared: Compared | None, *, detail: str | None
) -> str | None:
    """Why the recommended model must not be promoted; None if it may be. `detail` is why no comparison has begun."""
    if recommended.model is None:
        return f"No arm is recommended. {recommended.reason}"
    if comparison is None:
        return None
    if compared is None:
        return f"The comparison could not begin: {detail}"
    if compared.status == "cancelled":
        return "The comparison was cancelled."
    if compared.status != "succeeded" or compared.outcome is None:
        return f"The comparison has {compared.status}."
    place = compared.place(recommended.model)
    if place is None:
        return f"Arm {recommended.arm} was not compared."
    reference = compared.options.models[0].model if comparison.must_beat is not None else None
    models = [compared.outcome.models[0], compared.outcome.models[place]]
    outcome = msgspec.structs.replace(compared.outcome, models=models)
    condition = Condition(job_id="", sure=comparison.sure, least_score=comparison.least_score)
    reason = why_not(outcome, condition, reference=reference)
    return None if reason is None else f"The comparison did not pass: {reason}."


def _score(compared: Compared | None, model: str) -> Estimate | None:
    if compared is None or compared.outcome is None:
        return None
    place = compared.place(model)
    return None if place is None else compared.outcome.models[place].score
