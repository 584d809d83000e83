"""Files in which a check finds something and files in which it finds nothing; a module for each section."""

from tests.datasets.cases import (
    chat,
    completion,
    file,
    preference,
    quality,
    reinforcement,
    tokens_and_money,
    tools_and_functions,
    vision,
)
from tests.datasets.cases.material import Case as Case

__all__ = ["CASES", "Case"]

CASES: dict[str, list[Case]] = {
    **file.CASES,
    **chat.CASES,
    **tools_and_functions.CASES,
    **completion.CASES,
    **preference.CASES,
    **reinforcement.CASES,
    **vision.CASES,
    **tokens_and_money.CASES,
    **quality.CASES,
}
