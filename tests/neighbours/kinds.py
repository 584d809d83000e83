"""The attacks by kind, with those that the short form runs."""

from dataclasses import dataclass

from tests.neighbours import evaluation, keys, metrics, places, reading
from tests.neighbours.neighbourhood import Attack


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the issue's kinds: all its attacks, each run alone in the long form, and those of the short form."""

    name: str
    attacks: tuple[Attack, ...]
    short: tuple[Attack, ...]


KINDS = [
    Kind(module.__name__.rpartition(".")[2], module.ATTACKS, module.SHORT)
    for module in (evaluation, reading, places, keys, metrics)
]
