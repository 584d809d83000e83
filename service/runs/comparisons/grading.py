"""Grading of a comparison: the scores of every case, and the figures of every model. Pure.

Cases are graded in an evaluation process, some at a time: `AnsweredCase` has everything that the graders read. The
figures need the scores alone, so a worker computes them itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import msgspec

from service.processes.guard import guarded
from service.runs.comparisons.cases import answer_content
from service.runs.comparisons.graders.base import AnswerContent, Score
from service.runs.comparisons.graders.judge import JudgeGrader, score_verdicts
from service.runs.comparisons.graders.registry import AnyGrader
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


class AnsweredCase(msgspec.Struct, frozen=True, kw_only=True):
    """A complete case: its position in the file, the reference, and the models' answers in order.

    `verdicts` has the texts of both verdicts by the model's number and the judge, as `1/judge`.
    """

    line: int
    offset: int
    turn: int
    reference: AnswerContent
    answers: list[Answer]
    verdicts: dict[str, tuple[str, str]]


class GradedCase(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of one case: by model and grader, and each model's mean. `winner` is the number of the model with the
    highest mean, None where several share it."""

    line: int
    offset: int
    turn: int
    grader_scores: list[dict[str, Score]]
    scores: list[float]
    winner: int | None


class CaseScores(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a graded case: each model's mean, and score and pass by model and grader."""

    scores: list[float]
    grader_scores: list[dict[str, tuple[float, bool]]]


class ModelSpending(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one model's answers to the complete cases."""

    refused: int
    cut: int
    input_tokens: int
    output_tokens: int
    cost_micros: int


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of a comparison's answers by model, and of all verdicts."""

    models: list[ModelSpending]
    judges: JudgeFigures


def answered_cases(plan: ComparisonPlan) -> Iterator[AnsweredCase]:
    """The complete cases of a plan, in order."""
    models = range(len(plan.options.models))
    for case in plan.cases:
        if not plan.complete(case):
            continue
        keys = {
            f"{model}/{judge}": [verdict_key(case, model, judge, order) for order in (STRAIGHT, SWAPPED)]
            for model in models
            for judge in plan.judges
        }
        yield AnsweredCase(
            line=case.line,
            offset=case.offset,
            turn=case.turn,
            reference=case.reference,
            answers=[plan.answers[answer_key(case, model)] for model in models],
            verdicts={
                name: (plan.answers[straight].text, plan.answers[swapped].text)
                for name, (straight, swapped) in keys.items()
                if straight in plan.answers
            },
        )


def spending(plan: ComparisonPlan) -> Spending:
    """The counts of a plan's answers."""
    complete = [case for case in plan.cases if plan.complete(case)]
    answers = [
        [plan.answers[answer_key(case, model)] for case in complete] for model in range(len(plan.options.models))
    ]
    answer_keys = {answer_key(case, model) for case in plan.cases for model in range(len(plan.options.models))}
    verdicts = [answer for key, answer in plan.answers.items() if key not in answer_keys]
    return Spending(
        models=[
            ModelSpending(
                refused=sum(answer.refusal is not None for answer in each),
                cut=sum(answer.finish_reason == "length" for answer in each),
                **_spent(each),
            )
            for each in answers
        ],
        judges=JudgeFigures(calls=len(verdicts), **_spent(verdicts)),
    )


def grade_case(graders: Mapping[str, AnyGrader], case: AnsweredCase, *, seconds: float) -> GradedCase:
    """Grade one case. A process with limits ends if a grader takes more than `seconds` of processor time."""
    contents = [None if answer.message is None else answer_content(answer.message) for answer in case.answers]
    judges = sum(isinstance(grader, JudgeGrader) for grader in graders.values())
    grader_scores: list[dict[str, Score]] = []
    for model in range(len(case.answers)):
        found: dict[str, Score] = {}
        for name, grader in graders.items():
            if model or not isinstance(grader, JudgeGrader):
                label = f"the grader '{name}' on the answer of model {model + 1} to line {case.line}"
                with guarded(label, cpu_seconds=seconds):
                    found[name] = _score(grader, name, case, contents, model)
        grader_scores.append(found)
    scores = [_mean_score(each, judges=0 if model else judges) for model, each in enumerate(grader_scores)]
    best = [model for model, score in enumerate(scores) if score == max(scores)]
    return GradedCase(
        line=case.line,
        offset=case.offset,
        turn=case.turn,
        grader_scores=grader_scores,
        scores=scores,
        winner=best[0] if len(best) == 1 else None,
    )


def case_scores(graded: GradedCase) -> CaseScores:
    """The numbers that the figures need."""
    return CaseScores(
        scores=graded.scores,
        grader_scores=[
            {name: (score.score, score.passed) for name, score in scores.items()} for scores in graded.grader_scores
        ],
    )


def summarize(
    graders: Mapping[str, AnyGrader], cases: Sequence[CaseScores], spending: Spending, *, seed: int
) -> ComparisonOutcome:
    """The figures over the graded cases. They are the same for the same scores and seed."""
    return ComparisonOutcome(
        cases=len(cases),
        models=[_figures(graders, cases, model, each, seed) for model, each in enumerate(spending.models)],
        judges=spending.judges,
    )


def _score(
    grader: AnyGrader, name: str, case: AnsweredCase, contents: Sequence[AnswerContent | None], model: int
) -> Score:
    content = contents[model]
    if content is None:
        return Score(score=0.0, passed=False, why=f"The upstream refused the call: {case.answers[model].refusal}")
    if not isinstance(grader, JudgeGrader):
        return grader.score(content, case.reference)
    if contents[0] is None:
        return Score(score=1.0, passed=True, why="The other model's call was refused.")
    return _SAME_ANSWER if contents[0] == content else score_verdicts(*case.verdicts[f"{model}/{name}"])


def _mean_score(grader_scores: dict[str, Score], *, judges: int) -> float:
    by_judges = [_FIRST_MODEL_JUDGE_SCORE] * judges
    return round(fmean([each.score for each in grader_scores.values()] + by_judges), 9)


def _figures(
    graders: Mapping[str, AnyGrader], cases: Sequence[CaseScores], model: int, spent: ModelSpending, seed: int
) -> ModelFigures:
    mine, first = [each.scores[model] for each in cases], [each.scores[0] for each in cases]
    differences = [one - other for one, other in zip(mine, first, strict=True)]
    return ModelFigures(
        score=mean(mine, seed=seed),
        difference=mean(differences, seed=seed) if model else None,
        wins=wins(mine, first) if model else None,
        graders={
            name: _grader_figures([each.grader_scores[model][name] for each in cases], seed)
            for name, grader in graders.items()
            if model or not isinstance(grader, JudgeGrader)
        },
        **msgspec.structs.asdict(spent),
    )


def _grader_figures(scores: Sequence[tuple[float, bool]], seed: int) -> GraderFigures:
    return GraderFigures(
        score=mean([score for score, _ in scores], seed=seed),
        pass_rate=rate(sum(passed for _, passed in scores), len(scores)),
    )


def _spent(answers: Sequence[Answer]) -> dict[str, int]:
    return {
        "input_tokens": sum(answer.input_tokens for answer in answers),
        "output_tokens": sum(answer.output_tokens for answer in answers),
        "cost_micros": sum(answer.cost_micros for answer in answers),
    }
