"""Grading of a comparison: the scores of every case, and the figures of every model. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import msgspec

from service.runs.comparisons.cases import Case
from service.runs.comparisons.graders.base import Score
from service.runs.comparisons.graders.judge import JudgeGrader, score_verdicts
from service.runs.comparisons.plan import STRAIGHT, SWAPPED, ComparisonPlan, answer_key, verdict_key
from service.runs.comparisons.statistics import Estimate, Wins, mean, rate, wins
from service.runs.plan import Answer

TIE = "tie"
_FIRST_MODEL_JUDGE_SCORE = 0.5
"""A judge's score of the first model, which every judge compares with: a tie with itself."""

_SAME_ANSWER = Score(score=0.5, passed=True, why="A tie: both answers are the same.")


class GraderFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A grader's mean score and the share of answers that pass, with 95 % intervals."""

    score: Estimate
    pass_rate: Estimate


class ModelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one model. `score` is the mean over cases of the mean over its graders; `difference` is the mean
    case-by-case difference from the first model's score. `cut` answers reached the limit of tokens."""

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
    """The calls, tokens and cost of all verdicts."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost_micros: int


class ComparisonOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The figures over the complete cases, in the order of the models."""

    cases: int
    models: list[ModelFigures]
    judges: JudgeFigures


class GradedCase(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of one case: by model and grader, and each model's mean. `winner` is the number of the model with the
    highest mean, None where several share it."""

    case: Case
    grader_scores: list[dict[str, Score]]
    scores: list[float]
    winner: int | None


def grade(plan: ComparisonPlan) -> tuple[ComparisonOutcome, list[GradedCase]]:
    """Grade the complete cases. The result is the same for the same answers and seed."""
    graded = [_grade_case(plan, case) for case in plan.cases if plan.complete(case)]
    return ComparisonOutcome(
        cases=len(graded),
        models=[_figures(plan, graded, model) for model in range(len(plan.options.models))],
        judges=_judges(plan),
    ), graded


def _grade_case(plan: ComparisonPlan, case: Case) -> GradedCase:
    grader_scores = [_grader_scores(plan, case, model) for model in range(len(plan.options.models))]
    scores = [_mean_score(plan, each, first=not model) for model, each in enumerate(grader_scores)]
    best = [model for model, score in enumerate(scores) if score == max(scores)]
    return GradedCase(case=case, grader_scores=grader_scores, scores=scores, winner=best[0] if len(best) == 1 else None)


def _grader_scores(plan: ComparisonPlan, case: Case, model: int) -> dict[str, Score]:
    answer, content = plan.answers[answer_key(case, model)], plan.content(case, model)
    found: dict[str, Score] = {}
    for name, grader in plan.graders.items():
        if isinstance(grader, JudgeGrader) and not model:
            continue
        if content is None:
            found[name] = Score(score=0.0, passed=False, why=f"The upstream refused the call: {answer.refusal}")
        elif isinstance(grader, JudgeGrader):
            found[name] = _judge_score(plan, case, model, name)
        else:
            found[name] = grader.score(content, case.reference)
    return found


def _judge_score(plan: ComparisonPlan, case: Case, model: int, judge: str) -> Score:
    first = plan.content(case, 0)
    if first is None:
        return Score(score=1.0, passed=True, why="The other model's call was refused.")
    if first == plan.content(case, model):
        return _SAME_ANSWER
    straight, swapped = (plan.answers[verdict_key(case, model, judge, order)] for order in (STRAIGHT, SWAPPED))
    return score_verdicts(straight.text, swapped.text)


def _mean_score(plan: ComparisonPlan, grader_scores: dict[str, Score], *, first: bool) -> float:
    by_judges = [_FIRST_MODEL_JUDGE_SCORE] * len(plan.judges) if first else []
    return round(fmean([each.score for each in grader_scores.values()] + by_judges), 9)


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
            name: _grader_figures([each.grader_scores[model][name] for each in graded], seed)
            for name, grader in plan.graders.items()
            if model or not isinstance(grader, JudgeGrader)
        },
        refused=sum(answer.refusal is not None for answer in answers),
        cut=sum(answer.finish_reason == "length" for answer in answers),
        **_spent(answers),
    )


def _grader_figures(scores: Sequence[Score], seed: int) -> GraderFigures:
    return GraderFigures(
        score=mean([each.score for each in scores], seed=seed),
        pass_rate=rate(sum(each.passed for each in scores), len(scores)),
    )


def _judges(plan: ComparisonPlan) -> JudgeFigures:
    answer_keys = {answer_key(case, model) for case in plan.cases for model in range(len(plan.options.models))}
    verdicts = [answer for key, answer in plan.answers.items() if key not in answer_keys]
    return JudgeFigures(calls=len(verdicts), **_spent(verdicts))


def _spent(answers: Sequence[Answer]) -> dict[str, int]:
    return {
        "input_tokens": sum(answer.input_tokens for answer in answers),
        "output_tokens": sum(answer.output_tokens for answer in answers),
        "cost_micros": sum(answer.cost_micros for answer in answers),
    }
