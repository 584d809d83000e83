"""No retired word is used in names, docstrings, comments, messages, the command line or documents."""

from tests.docs.vocabulary import RETIRED, program_uses, uses


def test_no_retired_word_is_used() -> None:
    found = [str(use) for use in uses()]
    assert not found, f"{len(found)} uses of retired words:\n" + "\n".join(found)


def test_names_are_compared_word_by_word() -> None:
    text = '"""A module."""\n\nTOLD_AT = 1\n\n\ndef take_order(string: str) -> None:\n    """Rings the doorbell."""\n'
    assert [use.word for use in program_uses("service/example.py", text)] == [
        "told_at",
        "take_order",
        "doorbell",
        "rings",
    ]


def test_every_retired_word_has_a_replacement() -> None:
    assert [each.pattern for each in RETIRED if not each.use] == []
