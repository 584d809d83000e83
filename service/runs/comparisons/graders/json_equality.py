"""Is the answer the same JSON as the example's?"""

from __future__ import annotations

from service.runs.comparisons.graders.kinds import GraderOptions, Mark, Said, verdict
from service.runs.comparisons.graders.reading import NotJson, canonical, read_json, shared_leaves


class JsonEqualityGrader(GraderOptions, frozen=True, kw_only=True, tag="json_equality"):
    """The order of keys never counts, that of lists unless it is ignored. 1 and 1.0 are the same, 1 and true are not.

    The score is the share of values that both have; only equal JSON passes.
    """

    ignore_list_order: bool = False

    def mark(self, said: Said, wanted: Said) -> Mark:
        """The whole answer has to be JSON: words around it fail."""
        try:
            theirs = read_json(wanted.text)
            expected = canonical(theirs, any_order=self.ignore_list_order)
        except NotJson as error:
            return verdict(False, f"The example's own answer is not JSON: {error}.")
        try:
            mine = read_json(said.text)
            same = canonical(mine, any_order=self.ignore_list_order) == expected
        except NotJson as error:
            return verdict(False, f"It is not JSON: {error}.")
        if same:
            return verdict(True, "It is the same JSON.")
        share = shared_leaves(mine, theirs, any_order=self.ignore_list_order)
        return Mark(score=share, passed=False, why=f"It has {share:.0%} of the values in common.")
