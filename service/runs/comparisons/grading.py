"""From the answers of a comparison to what it shows: the marks of every case, and the figures of every model. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import msgspec

from service.runs.comparisons.cases import Case
from service.runs.comparisons.graders.judge import JudgeGrader, judged
from service.runs.comparisons.graders.kinds import Mark
from service.runs.comparisons.plan import STRAIGHT, SWAPPED, ComparisonPlan, answer_key, verdict_key
from service.runs.comparisons.statistics import Estimate, Wins, mean, rate, wins
from service.runs.plan import Answer

TIE = "tie"
_OF_ITSELF = 0.5
"""What a judge would score of the first model against itself: its part in the scores that are compared."""

_SAME = Mark(score=0.5, passed=True, why="A tie: both answers are the same.")


class GraderFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A grader's mean score and the share of answers that pass, with 95 % intervals."""

    score: Estimate
    pass_rate: Estimate


class ModelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How one model did. `score` is the mean over cases of the mean of its graders; `difference` is how much higher
    that is than the first model's, case by case. `cut` answers ran into the limit of tokens."""

    score: Estimate
    difference: Estimate | None
    wins: Wins | None
    graders: dict[str, GraderFigures]
    refused: int
    cut: int
    input_tokens: int
    output_tokens: int
    cost_micros: int


class JudgeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What all verdicts together took."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost_micros: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The figures, in the order of the models, over the cases that are complete."""

    cases: int
    models: list[ModelFigures]
    judges: JudgeFigures


class GradedCase(msgspec.Struct, frozen=True, kw_only=True):
    """The marks of one case, by model and grader. `winner` is the number of the model with the highest score; None
    where several have it."""

    case: Case
    marks: list[dict[str, Mark]]
    scores: list[float]
    winner: int | None


def grade(plan: ComparisonPlan) -> tuple[Outcome, list[GradedCase]]:
    """The outcome over the cases that are complete: the same for the same answers and seed."""
    graded = [_graded(plan, case) for case in plan.cases if plan.complete(case)]
    return Outcome(
        cases=len(graded),
        models=[_figures(plan, graded, model) for model in range(len(plan.options.models))],
        judges=_judges(plan),
    ), graded


def _graded(plan: ComparisonPlan, case: Case) -> GradedCase:
    marks = [_marks(plan, case, model) for model in range(len(plan.options.models))]
    scores = [_score(plan, each, first=not model) for model, each in enumerate(marks)]
    best = [model for model, score in enumerate(scores) if score == max(scores)]
    return GradedCase(case=case, marks=marks, scores=scores, winner=best[0] if len(best) == 1 else None)


def _marks(plan: ComparisonPlan, case: Case, model: int) -> dict[str, Mark]:
    answer, said = plan.answers[answer_key(case, model)], plan.said(case, model)
    found: dict[str, Mark] = {}
    for name, grader in plan.graders.items():
        if isinstance(grader, JudgeGrader) and not model:
            continue
        if said is None:
            found[name] = Mark(score=0.0, passed=False, why=f"The upstream refused the call: {answer.refusal}")
        elif isinstance(grader, JudgeGrader):
            found[name] = _verdict(plan, case, model, name)
        else:
            found[name] = grader.mark(said, case.wanted)
    return found


def _verdict(plan: ComparisonPlan, case: Case, model: int, judge: str) -> Mark:
    first = plan.said(case, 0)
    if first is None:
        return Mark(score=1.0, passed=True, why="The other model's call was refused.")
    if first == plan.said(case, model):
        return _SAME
    straight, swapped = (plan.answers[verdict_key(case, model, judge, order)] for order in (STRAIGHT, SWAPPED))
    return judged(straight.text, swapped.text)


def _score(plan: ComparisonPlan, marks: dict[str, Mark], *, first: bool) -> float:
    own = [_OF_ITSELF] * len(plan.judging) if first else []
    return round(fmean([mark.score for mark in marks.values()] + own), 9)


def _figures(plan: ComparisonPlan, graded: Sequence[GradedCase], model: int) -> ModelFigures:
    seed = plan.options.seed
    answers = [plan.answers[answer_key(each.case, model)] for each in graded]
    mine, first = [each.scores[model] for each in graded], [each.scores[0] for each in graded]
    differences = [one - other for one, other in zip(mine, first, strict=True)]
    return ModelFigures(
        score=mean(mine, seed=seed),
        difference=mean(differences, seed=seed) if model else None,
        wins=wins(mine, first) if model else None,
        graders={
            name: _grader_figures([each.marks[model][name] for each in graded], seed)
            for name, grader in plan.graders.items()
            if model or not isinstance(grader, JudgeGrader)
        },
        refused=sum(answer.refusal is not None for answer in answers),
        cut=sum(answer.finish_reason == "length" for answer in answers),
        **_spent(answers),
    )


def _grader_figures(marks: Sequence[Mark], seed: int) -> GraderFigures:
    return GraderFigures(
        score=mean([mark.score for mark in marks], seed=seed),
        pass_rate=rate(sum(mark.passed for mark in marks), len(marks)),
    )


def _judges(plan: ComparisonPlan) -> JudgeFigures:
    asked = {answer_key(case, model) for case in plan.cases for model in range(len(plan.options.models))}
    verdicts = [answer for key, answer in plan.answers.items() if key not in asked]
    return JudgeFigures(calls=len(verdicts), **_spent(verdicts))


def _spent(answers: Sequence[Answer]) -> dict[str, int]:
    return {
        "input_tokens": sum(answer.input_tokens for answer in answers),
        "output_tokens": sum(answer.output_tokens for answer in answers),
        "cost_micros": sum(answer.cost_micros for answer in answers),
    }
