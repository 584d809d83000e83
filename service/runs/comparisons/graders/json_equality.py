"""The answer is the same JSON as the reference."""

from __future__ import annotations

from service.runs.comparisons.graders.base import AnswerContent, GraderOptions, Score, pass_or_fail
from service.runs.comparisons.graders.json_values import NotJson, canonical, read_json, shared_leaves


class JsonEqualityGrader(GraderOptions, frozen=True, kw_only=True, tag="json_equality"):
    """The order of keys is ignored, the order of lists with `ignore_list_order`. 1 equals 1.0 and does not equal true.

    The score is the share of values in common; only equal JSON passes.
    """

    ignore_list_order: bool = False

    def score(self, answer: AnswerContent, reference: AnswerContent) -> Score:
        """The whole answer has to be JSON; text around it fails."""
        try:
            theirs = read_json(reference.text)
            expected = canonical(theirs, any_order=self.ignore_list_order)
        except NotJson as error:
            return pass_or_fail(False, f"The example's own answer is not JSON: {error}.")
        try:
            mine = read_json(answer.text)
            same = canonical(mine, any_order=self.ignore_list_order) == expected
        except NotJson as error:
            return pass_or_fail(False, f"It is not JSON: {error}.")
        if same:
            return pass_or_fail(True, "It is the same JSON.")
        share = shared_leaves(mine, theirs, any_order=self.ignore_list_order)
        return Score(score=share, passed=False, why=f"It has {share:.0%} of the values in common.")
