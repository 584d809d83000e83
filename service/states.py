"""The closed sets of states that rows can be in. Pure: tables, rules and answers all name them from here."""

from typing import Literal

State = Literal[
    "validating", "waiting", "uploading", "creating", "running", "settling", "succeeded", "failed", "cancelled"
]

ENDED: tuple[State, ...] = ("succeeded", "failed", "cancelled")
ACTIVE: tuple[State, ...] = ("uploading", "creating", "running", "settling")
"""States that hold one of the upstream account's slots."""

QUEUED: tuple[State, ...] = ("validating", "waiting")
