"""Cases of the checks in the section Tokens and money."""

from __future__ import annotations

from tests.datasets.cases.material import LONG, OK, Case, prefixed
from tests.datasets.rows import (
    OLD_MODEL,
    asked,
    jsonl,
)

CASES: dict[str, list[Case]] = {
    "over_token_limit": [Case(prefixed(asked("Why?", LONG * 2)), 2, "", OK, {"model": OLD_MODEL})],
    "answer_cut_off": [
        Case(
            prefixed(asked(LONG * 2, "Yes.")),
            2,
            "/messages/1/content",
            jsonl(asked("Why?", LONG * 2)),
            {"model": OLD_MODEL},
        )
    ],
    "special_token_in_text": [
        Case(prefixed(asked("The end<|endoftext|>")), 2, "/messages/0/content", jsonl(asked("a <| b |> c")))
    ],
}
