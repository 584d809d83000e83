"""The comparison that an experiment ends with: the base model and the best arms, on the examples of one file."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from service.errors import InvalidRequest
from service.experiments.arms import expand
from service.experiments.request_schemas import CreateExperiment
from service.inference.metering import Meter
from service.inference.routing import Router
from service.jobs.deployment import DeployComparison, check_condition, comparison_for
from service.runs.comparisons.actions import resolve_comparison
from service.runs.comparisons.request_schemas import CreateComparison
from service.runs.cost_estimate import CostEstimate
from service.runs.evaluator import Evaluator

MAX_COMPARED_ARMS = 7
"""A comparison has up to eight models, and the first is the one to beat."""


def comparison_of(request: DeployComparison, *, reference: str | None, arms: Sequence[str]) -> CreateComparison:
    """The comparison of some arms' models with the reference, which comes first."""
    models = [*([] if reference is None else [reference]), *arms]
    return msgspec.structs.replace(comparison_for(request, tuned=models[-1], reference=None), models=models)


async def estimate_comparison(
    body: CreateExperiment,
    *,
    router: Router,
    meter: Meter,
    evaluator: Evaluator,
    project_id: str,
    max_concurrency: int,
) -> CostEstimate | None:
    """What the comparison may cost, with models that do not exist yet at the prices of tuned ones; None without one.

    Raises `InvalidRequest` for a comparison that could not begin, with the field under `comparison`, and `InFlight`
    while its file is being checked.
    """
    request = body.comparison
    if request is None:
        return None
    check_condition(request, param="comparison")
    if request.must_beat == "current" and body.promote is None:
        raise InvalidRequest(
            "'current' is the model of the alias that `promote` names. Name one, or compare with the 'base'.",
            param="comparison.must_beat",
            code="conflicting_parameters",
        )
    arms = expand(body, seed=0)
    planned = {f"arm {number}": arm.model for number, arm in enumerate(arms[:MAX_COMPARED_ARMS], start=1)}
    reference = None if request.must_beat is None else arms[0].model
    try:
        resolved = await resolve_comparison(
            comparison_of(request, reference=reference, arms=list(planned)),
            router=router,
            meter=meter,
            evaluator=evaluator,
            project_id=project_id,
            max_concurrency=max_concurrency,
            planned=planned,
        )
    except InvalidRequest as refused:
        param = refused.param if refused.param in (None, "model") else f"comparison.{refused.param}"
        raise InvalidRequest(refused.message, param=param, code=refused.code) from None
    price, bound = resolved.price, resolved.budget_micros
    return replace(
        price,
        low_micros=min(price.low_micros, bound),
        expected_micros=min(price.expected_micros, bound),
        upper_micros=bound,
    )
