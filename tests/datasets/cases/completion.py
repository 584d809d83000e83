"""Cases of the checks in the section Completion."""

from __future__ import annotations

from tests.datasets.cases.material import COMPLETIONS, OK, Case
from tests.datasets.rows import (
    completion,
    jsonl,
)

CASES: dict[str, list[Case]] = {
    "completion_fields": [
        Case(jsonl(completion(), {"prompt": "a"}), 2, "/completion", jsonl(completion(""))),
        Case(jsonl(completion(), completion(5)), 2, "/prompt", jsonl(completion())),
        Case(jsonl(completion(), {"Prompt": "a", "completion": " b"}), 2, "/prompt", jsonl(completion())),
    ],
    "completion_extra_columns": [
        Case(jsonl(completion(), completion(context="Rome is warm.")), 2, "/context", jsonl(completion(id=1)))
    ],
    "completion_empty": [Case(jsonl(completion(), completion(answer=" ")), 2, "/completion", jsonl(completion()))],
    "completion_long_row": [
        Case(jsonl(completion(), completion("word " * 2_100)), 2, "", jsonl(completion("word " * 1_900)))
    ],
    "completion_no_leading_space": [
        Case(jsonl(completion(), completion(answer="yes")), 2, "/completion", jsonl(completion(answer="\nyes")))
    ],
    "completion_few_rows": [Case(jsonl(*COMPLETIONS[:99]), 1, "", jsonl(*COMPLETIONS[:100]))],
    "completion_task": [Case(jsonl(*COMPLETIONS), 1, "", OK)],
    "completion_no_separator": [
        Case(jsonl(completion("one", " a b"), completion("two!", " c d")), 1, "/prompt", jsonl(*COMPLETIONS)),
    ],
    "completion_separator_inside": [
        Case(
            jsonl(*COMPLETIONS[:50], completion("One\n\n###\n\n two\n\n###\n\n", " three END")),
            51,
            "/prompt",
            jsonl(*COMPLETIONS),
        )
    ],
    "completion_prompts_identical": [
        Case(jsonl(completion("same", " a b c"), completion("same", " d e f")), 1, "/prompt", jsonl(*COMPLETIONS))
    ],
    "completion_all_identical": [
        Case(jsonl(completion("a ->", " same"), completion("b ->", " same")), 1, "/completion", jsonl(*COMPLETIONS))
    ],
    "completion_prompt_prefix": [
        Case(
            jsonl(completion("Classify this text: a ->", " b"), completion("Classify this text: c ->", " d")),
            1,
            "/prompt",
            jsonl(*COMPLETIONS),
        )
    ],
    "completion_completion_prefix": [
        Case(
            jsonl(completion("a ->", " The answer is 1"), completion("b ->", " The answer is 2")),
            1,
            "/completion",
            jsonl(completion("a ->", " one END"), completion("b ->", " two END")),
        )
    ],
    "completion_no_ending": [
        Case(jsonl(completion("a ->", " one x"), completion("b ->", " two y")), 1, "/completion", jsonl(*COMPLETIONS))
    ],
    "completion_upper_case": [
        Case(jsonl(completion("WHY IS IT SO ->", " because")), 1, "/prompt", jsonl(*COMPLETIONS)),
        Case(jsonl(completion("wieso ->", " ÄÖÜ ÄÖÜ")), 1, "/completion", jsonl(completion("wieso ->", " äöü"))),
    ],
}
