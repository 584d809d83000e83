"""The names under which the byte model can be trained and asked; one model answers to all of them."""

from ..port import Base

OWN = "tiny-1"
_STANDS_IN_FOR = (
    "gpt-4o",
    "gpt-4o-2024-05-13",
    "gpt-4o-2024-08-06",
    "gpt-4o-2024-11-20",
    "gpt-4o-mini",
    "gpt-4o-mini-2024-07-18",
    "gpt-4.1",
    "gpt-4.1-2025-04-14",
    "gpt-4.1-mini",
    "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano",
    "gpt-4.1-nano-2025-04-14",
    "gpt-3.5-turbo",
    "gpt-3.5-turbo-0125",
    "gpt-3.5-turbo-1106",
    "gpt-3.5-turbo-0613",
    "babbage-002",
    "davinci-002",
)

BASES = (
    Base(name=OWN, methods=("supervised", "dpo")),
    *(Base(name=name, methods=("supervised", "dpo"), stands_in=True) for name in _STANDS_IN_FOR),
)
