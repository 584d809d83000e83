"""A row for each shape and variant, with the examples that it becomes; none where `convert` does not make them."""

from __future__ import annotations

from typing import Any, NamedTuple

Row = dict[str, Any]


class ShapedRow(NamedTuple):
    """A row of `shape`; `what` names the variant."""

    shape: str
    what: str
    row: Row
    examples: list[Row]


def chat(*turns: tuple[str, Any], **more: Any) -> Row:
    """A chat example of (role, content) pairs."""
    return {"messages": [{"role": role, "content": content} for role, content in turns], **more}


def pair(*turns: tuple[str, Any]) -> Row:
    """A preference example with these turns as its prompt."""
    return {
        "input": chat(*turns),
        "preferred_output": [{"role": "assistant", "content": "Good."}],
        "non_preferred_output": [{"role": "assistant", "content": "Bad."}],
    }


def turn(who: str, value: str, **more: Any) -> Row:
    """A turn as ShareGPT has it."""
    return {"from": who, "value": value, **more}


def said(role: str, content: str) -> Row:
    """A message."""
    return {"role": role, "content": content}


def reply(text: str, role: str, rank: int | None, *replies: Row, **more: Any) -> Row:
    """A message of an OpenAssistant tree."""
    return {"text": text, "role": role, "rank": rank, "replies": list(replies), **more}


HI = [("user", "Hi"), ("assistant", "Hello")]
HELLO = chat(*HI)
FORECAST = {"name": "forecast", "description": "The forecast.", "parameters": {"type": "object", "properties": {}}}
TOOLS_TEXT = (
    '[{"name": "forecast", "description": "The forecast.", "parameters": {"type": "object", "properties": {}}}]'
)
CALL = {"id": "call_1", "type": "function", "function": {"name": "forecast", "arguments": '{"city": "Rome"}'}}
CALLED: Row = {
    "messages": [
        said("user", "Rome?"),
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "21"},
        said("assistant", "Warm."),
    ],
}
TOOL = {"type": "function", "function": FORECAST}
HERMES = '<tool_call>\n{"name": "forecast", "arguments": {"city": "Rome"}}\n</tool_call>'
URL = "https://example.com/a.png"
DATA = "data:image/png;base64,iVBORw0KGgoASUVORK5CYII="
IMAGE = {"type": "image_url", "image_url": {"url": URL}}
ALPACA = "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
ALPACA += (
    "response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1\n\n### Response:\n2"
)
FIRST = turn("human", "Hi")

ROWS = [
    ShapedRow("sharegpt", "plain", {"conversations": [FIRST, turn("gpt", "Hello")]}, [HELLO]),
    ShapedRow("sharegpt", "role_content", {"conversations": [said("user", "Hi"), said("assistant", "Hello")]}, [HELLO]),
    ShapedRow("sharegpt", "messages_from", {"messages": [FIRST, turn("gpt", "Hello")]}, [HELLO]),
    ShapedRow("sharegpt", "pairs", {"conversation": [{"human": "Hi", "assistant": "Hello"}]}, [HELLO]),
    ShapedRow("sharegpt", "user_bot", {"dialog": [{"user": "Hi"}, {"bot": "Hello"}]}, [HELLO]),
    ShapedRow("sharegpt", "lists", {"conversations": [["Hi", "Hello"]]}, [HELLO]),
    ShapedRow("sharegpt", "ultrachat", {"id": "1", "data": ["Hi", "Hello"]}, [HELLO]),
    ShapedRow(
        "sharegpt",
        "top_1",
        {"conversation": [{"role": "prompter", "text": "Hi"}, {"role": "assistant", "text": "Hello"}]},
        [HELLO],
    ),
    ShapedRow("sharegpt", "strings", {"dialogue": ["Hi", "Hello"]}, [HELLO]),
    ShapedRow(
        "sharegpt",
        "json",
        {"conversations": '[{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]'},
        [HELLO],
    ),
    ShapedRow(
        "sharegpt",
        "pandas",
        {"conversations": "[{'from': 'human', 'value': 'Hi'}, {'from': 'gpt', 'value': 'Hello'}]"},
        [HELLO],
    ),
    ShapedRow(
        "sharegpt",
        "system",
        {"conversations": [FIRST, turn("gpt", "Hello")], "system": "Be kind."},
        [chat(("system", "Be kind."), *HI)],
    ),
    ShapedRow(
        "sharegpt",
        "first_from_gpt",
        {"conversations": [turn("gpt", "Welcome."), FIRST, turn("gpt", "Hello")]},
        [chat(("assistant", "Welcome."), *HI)],
    ),
    ShapedRow(
        "sharegpt",
        "train",
        {"conversations": [FIRST, turn("gpt", "No.", train=False), FIRST, turn("gpt", "Yes.", train=True)]},
        [
            {
                "messages": [
                    said("user", "Hi"),
                    {**said("assistant", "No."), "weight": 0},
                    said("user", "Hi"),
                    {**said("assistant", "Yes."), "weight": 1},
                ]
            }
        ],
    ),
    ShapedRow(
        "sharegpt",
        "mask",
        {"conversations": [FIRST, turn("gpt", "No.", mask=True)]},
        [{"messages": [said("user", "Hi"), {**said("assistant", "No."), "weight": 0}]}],
    ),
    ShapedRow(
        "sharegpt",
        "function_call",
        {
            "conversations": [
                turn("human", "Rome?"),
                turn("function_call", '{"name": "forecast", "arguments": {"city": "Rome"}}'),
                turn("observation", "21"),
                turn("gpt", "Warm."),
            ],
            "tools": TOOLS_TEXT,
        },
        [{**CALLED, "tools": [TOOL]}],
    ),
    ShapedRow(
        "sharegpt",
        "hermes",
        {
            "conversations": [
                turn("human", "Rome?"),
                turn("gpt", HERMES),
                turn("tool", "<tool_response>\n21\n</tool_response>"),
                turn("gpt", "Warm."),
            ],
            "tools": [TOOL],
        },
        [{**CALLED, "tools": [TOOL]}],
    ),
    ShapedRow(
        "sharegpt",
        "images",
        {"conversations": [turn("human", "<image>\nWhat is it?"), turn("gpt", "A hat.")], "images": [URL]},
        [chat(("user", [IMAGE, {"type": "text", "text": "What is it?"}]), ("assistant", "A hat."))],
    ),
    ShapedRow(
        "sharegpt",
        "image_without_place",
        {"conversations": [turn("human", "What is it?"), turn("gpt", "A hat.")], "image": {"url": DATA}},
        [
            chat(
                ("user", [{"type": "image_url", "image_url": {"url": DATA}}, {"type": "text", "text": "What is it?"}]),
                ("assistant", "A hat."),
            )
        ],
    ),
    ShapedRow("alpaca", "plain", {"instruction": "Hi", "input": "", "output": "Hello"}, [HELLO]),
    ShapedRow(
        "alpaca",
        "text",
        {"instruction": "Add.", "input": "1", "output": "2", "text": ALPACA},
        [chat(("user", "Add.\n\n1"), ("assistant", "2"))],
    ),
    ShapedRow(
        "alpaca",
        "history",
        {"instruction": "Hi", "output": "Hello", "system": "S.", "history": [["One?", "1"]]},
        [chat(("system", "S."), ("user", "One?"), ("assistant", "1"), *HI)],
    ),
    ShapedRow(
        "alpaca",
        "query",
        {"query": "Hi", "response": "Hello", "history": [["One?", "1"]]},
        [chat(("user", "One?"), ("assistant", "1"), *HI)],
    ),
    ShapedRow(
        "self_instruct",
        "instances",
        {"instruction": "Add.", "instances": [{"input": "1", "output": "2"}, {"input": "", "output": "3"}]},
        [chat(("user", "Add.\n\n1"), ("assistant", "2")), chat(("user", "Add."), ("assistant", "3"))],
    ),
    ShapedRow("dolly", "row", {"instruction": "a", "context": "b", "response": "c", "category": "qa"}, []),
    ShapedRow("helpsteer", "row", {"prompt": "a", "response": "b", "helpfulness": 3}, []),
    ShapedRow("flan", "row", {"inputs": "a", "targets": "b"}, []),
    ShapedRow("query_response", "row", {"query": "a", "response": "b"}, []),
    ShapedRow("question_answer", "gsm8k", {"question": "a", "answer": "b\n#### 4"}, []),
    ShapedRow("problem_solution", "row", {"problem": "a", "solution": "b"}, []),
    ShapedRow(
        "squad",
        "row",
        {"question": "Where?", "context": "In Rome.", "answers": {"text": ["Rome"], "answer_start": [3]}},
        [chat(("user", "In Rome.\n\nWhere?"), ("assistant", "Rome"))],
    ),
    ShapedRow("squad", "list", {"question": "Hi", "answer": ["Hello", "Hello there"]}, [HELLO]),
    ShapedRow("preference", "texts", {"prompt": "Hi", "chosen": "Good.", "rejected": "Bad."}, [pair(("user", "Hi"))]),
    ShapedRow(
        "preference",
        "messages",
        {
            "prompt": [said("user", "Hi")],
            "chosen": [said("assistant", "Good.")],
            "rejected": [said("assistant", "Bad.")],
        },
        [pair(("user", "Hi"))],
    ),
    ShapedRow(
        "preference",
        "implicit_prompt",
        {
            "chosen": [said("user", "Hi"), said("assistant", "Good.")],
            "rejected": [said("user", "Hi"), said("assistant", "Bad.")],
        },
        [pair(("user", "Hi"))],
    ),
    ShapedRow(
        "preference",
        "binarized",
        {
            "prompt": "Hi",
            "chosen": [said("user", "Hi"), said("assistant", "Good.")],
            "rejected": [said("user", "Hi"), said("assistant", "Bad.")],
            "messages": [said("user", "Hi"), said("assistant", "Good.")],
            "score_chosen": 8.5,
        },
        [pair(("user", "Hi"))],
    ),
    ShapedRow(
        "preference",
        "hh_rlhf",
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant: Good.",
            "rejected": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant: Bad.",
        },
        [pair(*HI, ("user", "Bye"))],
    ),
    ShapedRow(
        "preference",
        "alpaca",
        {
            "system": "S.",
            "instruction": "Add.",
            "input": "1",
            "chosen": "Good.",
            "rejected": "Bad.",
            "history": [["a", "b"]],
        },
        [pair(("system", "S."), ("user", "a"), ("assistant", "b"), ("user", "Add.\n\n1"))],
    ),
    ShapedRow(
        "preference",
        "sharegpt",
        {"conversations": [FIRST], "chosen": turn("gpt", "Good."), "rejected": turn("gpt", "Bad.")},
        [pair(("user", "Hi"))],
    ),
    ShapedRow(
        "preference",
        "ms_swift",
        {"messages": [said("user", "Hi"), said("assistant", "Good.")], "rejected_response": "Bad."},
        [pair(("user", "Hi"))],
    ),
    ShapedRow(
        "ultrafeedback",
        "row",
        {
            "instruction": "Hi",
            "completions": [
                {"response": "So so.", "overall_score": 5},
                {"response": "Bad.", "overall_score": 1.5},
                {"response": "Good.", "overall_score": 8},
            ],
        },
        [pair(("user", "Hi"))],
    ),
    ShapedRow(
        "nectar",
        "row",
        {
            "prompt": "\n\nHuman: Hi\n\nAssistant: ",
            "answers": [{"answer": "Bad.", "rank": 2}, {"answer": "Good.", "rank": 1}],
        },
        [pair(("user", "Hi"))],
    ),
    ShapedRow(
        "safe_rlhf",
        "row",
        {"prompt": "Hi", "response_0": "Bad.", "response_1": "Good.", "better_response_id": 1},
        [pair(("user", "Hi"))],
    ),
    ShapedRow("preference", "list", {"instruction": "Hi", "output": ["Good.", "Bad."]}, [pair(("user", "Hi"))]),
    ShapedRow(
        "preference",
        "template",
        {
            "prompt": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
            "chosen": "Good.<|im_end|>",
            "rejected": "Bad.",
        },
        [pair(("user", "Hi"))],
    ),
    ShapedRow(
        "preference",
        "quoted_tag",
        {"prompt": "Do USER: and ASSISTANT: differ?", "chosen": "Good.", "rejected": "Bad."},
        [pair(("user", "Do USER: and ASSISTANT: differ?"))],
    ),
    ShapedRow(
        "distilabel",
        "row",
        {"instruction": "Hi", "generations": ["Bad.", "Good."], "ratings": [1, 5]},
        [pair(("user", "Hi"))],
    ),
    ShapedRow("input_output", "row", {"input": "a", "output": "b"}, []),
    ShapedRow("user_assistant", "row", {"user": "a", "assistant": "b"}, []),
    ShapedRow("unpaired_preference", "trl", {"prompt": "a", "completion": "b", "label": True}, []),
    ShapedRow("unpaired_preference", "kto_tag", {"instruction": "a", "output": "b", "kto_tag": False}, []),
    ShapedRow("unpaired_preference", "turns", {"conversations": [FIRST], "kto_tag": True}, []),
    ShapedRow("stepwise", "row", {"prompt": "a", "completions": ["b", "c"], "labels": [True, False]}, []),
    ShapedRow(
        "prompt_completion_messages",
        "row",
        {
            "prompt": [said("user", "a"), said("assistant", "b"), said("user", "Hi")],
            "completion": [said("assistant", "Hello")],
        },
        [{"messages": [said("user", "a"), {**said("assistant", "b"), "weight": 0}, *HELLO["messages"]]}],
    ),
    ShapedRow(
        "prompts",
        "row",
        {"prompt": [said("user", "2 + 2?")], "ground_truth": "4"},
        [chat(("user", "2 + 2?"), ground_truth="4")],
    ),
    ShapedRow(
        "transcript",
        "chatml",
        {"text": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>"},
        [HELLO],
    ),
    ShapedRow("transcript", "llama_2", {"text": "<s>[INST] Hi [/INST] Hello </s>"}, [HELLO]),
    ShapedRow(
        "transcript",
        "llama_2_system",
        {"text": "<s>[INST] <<SYS>>\nS.\n<</SYS>>\n\nHi [/INST] Hello </s>"},
        [chat(("system", "S."), *HI)],
    ),
    ShapedRow(
        "transcript",
        "llama_3",
        {
            "text": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
        },
        [HELLO],
    ),
    ShapedRow("transcript", "zephyr", {"text": "<|user|>\nHi</s>\n<|assistant|>\nHello</s>"}, [HELLO]),
    ShapedRow("transcript", "phi", {"text": "<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>"}, [HELLO]),
    ShapedRow(
        "transcript",
        "gemma",
        {"text": "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n"},
        [HELLO],
    ),
    ShapedRow("transcript", "vicuna", {"text": "S. USER: Hi ASSISTANT: Hello</s>"}, [chat(("system", "S."), *HI)]),
    ShapedRow("transcript", "alpaca", {"text": ALPACA}, [chat(("user", "Add.\n\n1"), ("assistant", "2"))]),
    ShapedRow("transcript", "guanaco", {"text": "### Human: Hi### Assistant: Hello"}, [HELLO]),
    ShapedRow("transcript", "words", {"text": "User: Hi\nAssistant: Hello"}, [HELLO]),
    ShapedRow("transcript", "other_key", {"prompt": "[INST] Hi [/INST] Hello"}, [HELLO]),
    ShapedRow(
        "text",
        "turn_without_end",
        {"text": "<|im_start|>tool\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>"},
        [{"prompt": "", "completion": "<|im_start|>tool\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>"}],
    ),
    *(
        ShapedRow("text", what, {"text": text}, [{"prompt": "", "completion": text}])
        for what, text in (
            ("does_not_alternate", "### Human: Hi### Human: Hi again### Assistant: Hello"),
            ("tag_left", "<|im_start|>user\nHi <|endoftext|> you<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>"),
        )
    ),
    ShapedRow("text", "plain", {"text": "A text.", "meta": {"url": "x"}}, [{"prompt": "", "completion": "A text."}]),
    ShapedRow(
        "multiple_choice",
        "mmlu",
        {"question": "Q?", "choices": ["x", "y"], "answer": 0, "subject": "s"},
        [chat(("user", "Q?\n\nA. x\nB. y"), ("assistant", "A. x"))],
    ),
    ShapedRow(
        "multiple_choice",
        "from_1",
        {"sentence": "Q _.", "option1": "x", "option2": "y", "answer": "2"},
        [chat(("user", "Q _.\n\nA. x\nB. y"), ("assistant", "B. y"))],
    ),
    ShapedRow(
        "multiple_choice",
        "arc",
        {"question": "Q?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"},
        [chat(("user", "Q?\n\nA. x\nB. y"), ("assistant", "B. y"))],
    ),
    ShapedRow(
        "multiple_choice",
        "stem",
        {
            "question": {"stem": "Q?", "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]},
            "answerKey": "B",
        },
        [chat(("user", "Q?\n\nA. x\nB. y"), ("assistant", "B. y"))],
    ),
    ShapedRow(
        "multiple_choice",
        "medqa",
        {"question": "Q?", "options": {"A": "x", "B": "y"}, "answer": "y", "answer_idx": "B"},
        [chat(("user", "Q?\n\nA. x\nB. y"), ("assistant", "B. y"))],
    ),
    ShapedRow(
        "multiple_choice",
        "columns",
        {"Question": "Q?", "A": "x", "B": "y", "C": "", "Answer": "b"},
        [chat(("user", "Q?\n\nA. x\nB. y"), ("assistant", "B. y"))],
    ),
    ShapedRow(
        "multiple_choice",
        "aqua",
        {"question": "Q?", "options": ["A)x", "B)y"], "rationale": "r", "correct": "B"},
        [chat(("user", "Q?\n\nA. x\nB. y"), ("assistant", "B. y"))],
    ),
    ShapedRow(
        "multiple_choice",
        "race",
        {"article": "T.", "question": "Q?", "options": ["x", "y"], "answer": "A"},
        [chat(("user", "T.\n\nQ?\n\nA. x\nB. y"), ("assistant", "A. x"))],
    ),
    ShapedRow(
        "multiple_choice",
        "sciq",
        {"question": "Q?", "correct_answer": "y", "distractor1": "x", "support": "T."},
        [chat(("user", "T.\n\nQ?\n\nA. x\nB. y"), ("assistant", "B. y"))],
    ),
    ShapedRow(
        "oasst",
        "tree",
        {
            "message_tree_id": "t",
            "prompt": reply(
                "Hi",
                "prompter",
                None,
                reply("Worse.", "assistant", 1),
                reply("Removed.", "assistant", 0, deleted=True),
                reply("Hello", "assistant", 0, reply("And?", "prompter", None)),
            ),
        },
        [HELLO],
    ),
    ShapedRow("oasst_messages", "row", {"message_id": "a", "parent_id": None, "text": "Hi", "role": "prompter"}, []),
]
