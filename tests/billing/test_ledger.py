"""Postings: whatever comes, no cost is lost, no limit is moved, and nothing goes below zero."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from service.billing.ledger import MonthBalance, post

amounts = st.integers(0, 10**12)


class TestPost:
    @given(amounts, amounts, amounts, amounts, amounts, st.none() | amounts)
    def test_every_micro_dollar_is_somewhere(
        self, actual: int, reserved: int, others: int, spent: int, overage: int, limit: int | None
    ) -> None:
        balance = MonthBalance(reserved=reserved + others, spent=spent, overage=overage, limit=limit)
        booked = post(actual=actual, reserved=reserved, balance=balance)
        assert booked.spent + booked.overage == actual
        assert booked.released == reserved
        assert min(booked.spent, booked.overage) >= 0

    @given(amounts, amounts, amounts)
    def test_within_the_reservation_there_is_no_overage(self, reserved: int, less: int, limit: int) -> None:
        balance = MonthBalance(reserved=reserved, spent=0, overage=0, limit=limit)
        booked = post(actual=min(less, reserved), reserved=reserved, balance=balance)
        assert booked.overage == 0

    def test_beyond_the_reservation_up_to_the_limit(self) -> None:
        balance = MonthBalance(reserved=100, spent=0, overage=0, limit=130)
        booked = post(actual=150, reserved=100, balance=balance)
        assert (booked.released, booked.spent, booked.overage) == (100, 130, 20)

    def test_without_a_limit_all_is_spent(self) -> None:
        booked = post(actual=150, reserved=100, balance=MonthBalance(reserved=100, spent=0, overage=0, limit=None))
        assert (booked.spent, booked.overage) == (150, 0)


class TestRemaining:
    def test_is_never_negative_and_none_without_a_limit(self) -> None:
        assert MonthBalance(reserved=5, spent=5, overage=5, limit=10).remaining == 0
        assert MonthBalance(reserved=5, spent=5, overage=5, limit=None).remaining is None
        assert MonthBalance(reserved=1, spent=2, overage=3, limit=10).remaining == 4


class Month(RuleBasedStateMachine):
    """A project's month under any order of reservations, settlements and changes of the limit."""

    def __init__(self) -> None:
        super().__init__()
        self.balance = MonthBalance(reserved=0, spent=0, overage=0, limit=1_000)
        self.open: list[int] = []
        self.costs = 0

    @rule(amount=st.integers(0, 500))
    def reserve(self, amount: int) -> None:
        remaining = self.balance.remaining
        if remaining is None or amount <= remaining:
            self.balance = replace(self.balance, reserved=self.balance.reserved + amount)
            self.open.append(amount)

    @rule(actual=st.integers(0, 900), data=st.data())
    def settle(self, actual: int, data: st.DataObject) -> None:
        if not self.open:
            return
        reserved = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        within = self.balance.remaining
        booked = post(actual=actual, reserved=reserved, balance=self.balance)
        if within is not None:
            assert booked.spent <= reserved + within
        self.costs += actual
        self.balance = replace(
            self.balance,
            reserved=self.balance.reserved - booked.released,
            spent=self.balance.spent + booked.spent,
            overage=self.balance.overage + booked.overage,
        )

    @rule(limit=st.none() | st.integers(0, 2_000))
    def change_limit(self, limit: int | None) -> None:
        self.balance = replace(self.balance, limit=limit)

    @invariant()
    def nothing_is_lost_or_negative(self) -> None:
        assert self.balance.reserved == sum(self.open)
        assert self.balance.spent + self.balance.overage == self.costs
        assert min(self.balance.reserved, self.balance.spent, self.balance.overage) >= 0


TestMonth = Month.TestCase
