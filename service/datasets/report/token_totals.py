"""The token figures of some examples, as a report adds them up."""

from __future__ import annotations

from array import array


class TokenTotals:
    """The token figures of some examples, which can be merged with others. Stores 8 bytes for each example.

    Names without `cookbook` hold our figures. `billable` is the sum of tokens within the model's limit for one epoch.
    """

    def __init__(self) -> None:
        self.total = 0
        self.trained = 0
        self.definitions = 0
        self.billable = 0
        self.tokens_over_limit = 0
        self.examples_over_limit = 0
        self.answers_cut_off = 0
        self.images = 0
        self.uncountable = 0
        self.cookbook_billable = 0
        self.per_example = array("I")
        self.cookbook_per_example = array("I")

    def merge(self, other: TokenTotals) -> None:
        """Adds the figures of other examples."""
        for name, figure in vars(other).items():
            total = getattr(self, name)
            total += figure
            setattr(self, name, total)
