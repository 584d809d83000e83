"""Files of training tools: ShareGPT, Alpaca, OpenAssistant, TRL, preferences, transcripts, multiple choice."""

from __future__ import annotations

from typing import Any

from tests.real_files.expectation import Expected, chat

SHAPE = {"other_shape": 1}
WHEN, EIGHT = "When does the harbour office open?", "At eight o'clock."
WHO, CLOCKMAKER = "Who repairs the clock in the square?", "The clockmaker on Ropewalk."
PLAIN = chat(("user", WHEN), ("assistant", EIGHT))
LETTERED = chat(
    ("user", f"{WHEN}\n\nA. At six.\nB. At seven.\nC. At eight.\nD. At nine."), ("assistant", "C. At eight.")
)
TREE = chat(("user", WHEN), ("assistant", EIGHT), ("user", WHO), ("assistant", CLOCKMAKER))
TIDE = {
    "name": "tide",
    "description": "The tide at a pier.",
    "parameters": {"type": "object", "properties": {"pier": {"type": "string"}}, "required": ["pier"]},
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "tide", "arguments": '{"pier": "four"}'}}


def pair(*before: tuple[str, str]) -> dict[str, Any]:
    """A preference example of the one question, after other turns."""
    return {
        "input": chat(*before, ("user", WHEN)),
        "preferred_output": [{"role": "assistant", "content": EIGHT}],
        "non_preferred_output": [{"role": "assistant", "content": "I cannot say."}],
    }


def preference(count: int, first: dict[str, Any], shape: str = "preference", *unused: str, notes: str = "") -> Expected:
    return Expected(SHAPE, shape=shape, format="preference", examples=count, first=first, unused=unused, notes=notes)


def converted(shape: str | None, count: int, first: dict[str, Any], *unused: str, notes: str = "") -> Expected:
    return Expected(SHAPE, shape=shape, format="chat", examples=count, first=first, unused=unused, notes=notes)


EXPECTED: dict[str, Expected] = {
    "sharegpt_tools.jsonl": converted(
        "sharegpt",
        3,
        {
            "messages": [
                {"role": "system", "content": "You are the harbour desk."},
                {"role": "user", "content": "How high is the tide at pier four?"},
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": '{"metres": 2.5}'},
                {"role": "assistant", "content": "Two and a half metres."},
            ],
            "tools": [{"type": "function", "function": TIDE}],
        },
    ),
    "sharegpt_cells.csv": converted("sharegpt", 2, PLAIN, "/id")._replace(errors={"table_file": 1}),
    "alpaca.jsonl": converted("alpaca", 2, PLAIN),
    "alpaca.csv": converted(None, 2, PLAIN)._replace(errors={"table_file": 1}),
    "dolly.jsonl": converted(None, 2, PLAIN, "category"),
    "self_instruct.jsonl": converted(
        "self_instruct",
        2,
        chat(("user", "Name the pier of the ship.\n\nThe Blue Kettle"), ("assistant", "Pier four.")),
        "/id",
        "/name",
        "/is_classification",
    ),
    "squad.jsonl": converted(
        "squad",
        1,
        chat(
            ("user", "The harbour office opens at eight o'clock.\n\nWhen does it open?"),
            ("assistant", "at eight o'clock"),
        ),
        "/id",
        "/title",
        notes="the first is used",
    ),
    "preference_trl.jsonl": preference(2, pair()),
    "preference_messages.jsonl": preference(1, pair(), "preference", "/prompt_id", "/score_chosen", "/score_rejected"),
    "hh_rlhf.jsonl": preference(1, pair(("user", "Hello."), ("assistant", "Good morning."))),
    "ultrafeedback.jsonl": preference(
        1,
        pair(),
        "ultrafeedback",
        "/source",
        "/models/*",
        "/completions/*/model",
        "/completions/*/response",
        "/completions/*/overall_score",
        notes="the best and the worst rating",
    ),
    "kto.jsonl": Expected(SHAPE, refused="needs a good and a bad answer to the same prompt"),
    "trl_messages.jsonl": converted(
        "prompt_completion_messages",
        1,
        {
            "messages": [
                {"role": "user", "content": "Hello."},
                {"role": "assistant", "content": "Good morning.", "weight": 0},
                *PLAIN["messages"],
            ]
        },
        notes="the completion alone is trained",
    ),
    "prompts_as_texts.jsonl": Expected(
        SHAPE,
        shape="prompts",
        format="reinforcement",
        examples=2,
        first=chat(("user", "Write a limerick about a ferry.")),
    ),
    "trl_prompts.jsonl": Expected(
        SHAPE,
        shape="prompts",
        format="reinforcement",
        examples=1,
        first=chat(("user", "How many metres are two fathoms, rounded?")) | {"ground_truth": "4"},
    ),
    "chatml.jsonl": converted(
        "transcript", 2, chat(("system", "You are the harbour desk."), ("user", WHEN), ("assistant", EIGHT))
    ),
    "guanaco.jsonl": converted("transcript", 1, TREE, notes="split at the tags"),
    "text.jsonl": Expected(
        SHAPE,
        shape="text",
        format="completion",
        examples=2,
        first={"prompt": "", "completion": " The harbour office opens at eight o'clock."},
        unused=("/meta/url",),
        notes="completions with an empty prompt",
    ),
    "mmlu.jsonl": converted("multiple_choice_from_0", 2, LETTERED, "/subject", notes="counted from 0"),
    "multiple_choice.csv": converted("multiple_choice", 2, LETTERED)._replace(errors={"table_file": 1}),
    "multiple_choice_base.jsonl": Expected(SHAPE, refused="set the option `shape` to multiple_choice_from_0"),
    "oasst_messages.jsonl": converted("oasst_messages", 2, TREE, "/lang", notes="best ranked"),
    "oasst_trees.jsonl": converted(
        "oasst",
        1,
        TREE,
        "/tree_state",
        "/prompt/lang",
        "/prompt/replies/*/text",
        "/prompt/replies/*/lang",
        "/prompt/replies/*/replies/*/lang",
        "/prompt/replies/*/replies/*/replies/*/lang",
        notes="best ranked",
    ),
}
