"""What is expected of the files that providers' shapes and exports of other tools have."""

from __future__ import annotations

from typing import Any

from tests.real_files.expectation import Expected, chat

OPENING = chat(("system", "You are the desk."), ("user", "When do you open?"), ("assistant", "At eight o'clock."))
SHORT = chat(("user", "When do you open?"), ("assistant", "At eight o'clock."))
LAMP = chat(("user", "The lamp is broken."), ("assistant", "repair"))
PARAMETERS = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather of a town.", "parameters": PARAMETERS},
}


def rain(id: str, result: str = "rain", *, system: bool = False, **first: Any) -> dict[str, Any]:
    """The conversation in which a tool is called; `first` has further keys of the message that calls the tool."""
    function = {"name": "weather", "arguments": '{"town": "Lund"}'}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Is it raining in Lund?"},
        {"role": "assistant", **first, "tool_calls": [{"id": id, "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": id, "content": result},
        {"role": "assistant", "content": "Yes, it is."},
    ]
    start = [{"role": "system", "content": "You are the desk."}] if system else []
    return {"messages": [*start, *messages], "tools": [TOOL]}


def mistral() -> dict[str, Any]:
    row = rain("D681PevKs", content="")
    row["messages"][-1]["weight"] = 1
    return row


def preference(question: str, better: str, worse: str) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": question}]},
        "preferred_output": [{"role": "assistant", "content": better}],
        "non_preferred_output": [{"role": "assistant", "content": worse}],
    }


def converted(
    shape: str, examples: int, first: dict[str, Any], *unused: str, array: bool = False, notes: str = ""
) -> Expected:
    """A file whose rows have a shape; in an `array` of JSON, or in JSON Lines."""
    return Expected(
        {"json_array_file" if array else "other_shape": 1},
        shape=shape,
        format="preference" if "preferred_output" in first else "chat",
        examples=examples,
        first=first,
        unused=unused,
        notes=notes,
    )


COMPLETION = ("object", "created", "model", "choices/*/index", "choices/*/finish_reason")

EXPECTED: dict[str, Expected] = {
    "anthropic.jsonl": converted("anthropic", 2, rain("toolu_1", system=True, content="I will see.")),
    "anthropic_text.jsonl": converted("anthropic_text", 2, SHORT),
    "argilla.jsonl": converted(
        "argilla",
        2,
        LAMP,
        "/id",
        "/suggestions/topic/value",
        "/suggestions/topic/score",
        "/suggestions/topic/agent",
        "/responses/topic/*/user_id",
        notes="the majority decides",
    ),
    "bedrock.jsonl": converted("bedrock", 3, OPENING),
    "bedrock_text.jsonl": converted("bedrock_text", 2, OPENING),
    "chatgpt_conversations.json": converted(
        "chatgpt_export",
        2,
        SHORT,
        "/title",
        "/create_time",
        "/mapping/*/message/weight",
        "/mapping/*/message/content/parts/*",
        array=True,
    ),
    "cohere.jsonl": converted("cohere", 2, OPENING),
    "cohere_history.jsonl": converted(
        "cohere_history",
        2,
        chat(
            ("system", "You are the desk."),
            ("user", "Hello"),
            ("assistant", "Good day."),
            ("user", "When do you open?"),
            ("assistant", "At eight o'clock."),
        ),
    ),
    "doccano.jsonl": converted("doccano", 2, LAMP, "/id"),
    "gemini.jsonl": converted(
        "gemini",
        3,
        chat(
            ("system", "You are the desk of the town hall."),
            ("user", "When does the office open?"),
            ("assistant", "At eight o'clock."),
        ),
        "/labels/team",
    ),
    "gemini_preference.jsonl": converted(
        "gemini_preference", 2, preference("When do you open?", "At eight o'clock, every day.", "No idea.")
    ),
    "helicone.jsonl": converted(
        "helicone",
        2,
        SHORT,
        "/request_id",
        "/request_body/model",
        *(f"/response_body/{key}" for key in COMPLETION),
    ),
    "label_studio.json": converted(
        "label_studio",
        2,
        LAMP,
        "/id",
        "/annotations/*/id",
        "/annotations/*/was_cancelled",
        "/annotations/*/ground_truth",
        "/annotations/*/result/*/value/choices/*",
        array=True,
        notes="the majority decides",
    ),
    "label_studio_pairs.json": converted(
        "label_studio_pairs",
        2,
        preference("When do you open?", "At eight o'clock.", "No idea."),
        "/id",
        "/annotations/*/id",
        "/annotations/*/was_cancelled",
        "/annotations/*/ground_truth",
        array=True,
    ),
    "label_studio_short.csv": Expected(
        {"table_file": 1},
        shape="label_studio_min",
        format="chat",
        examples=2,
        first=LAMP,
        unused=("/annotation_id", "/annotator", "/created_at", "/id", "/lead_time", "/updated_at"),
    ),
    "langchain.jsonl": converted("langchain", 2, OPENING),
    "langfuse.jsonl": converted("langfuse", 2, OPENING, "/metadata/environment"),
    "langsmith.csv": Expected(
        {"table_file": 1},
        shape="langsmith",
        format="chat",
        examples=2,
        first=chat(("user", "Is the ferry running today?"), ("assistant", "Yes, every hour until nine.")),
    ),
    "langsmith.jsonl": converted("langsmith", 3, OPENING),
    "mistral.jsonl": converted("mistral", 2, mistral()),
    "mistral_interactions.jsonl": converted("mistral", 2, SHORT),
    "openai_batch_input.jsonl": Expected({"other_shape": 1}, refused="requests without answers"),
    "openai_batch_output.jsonl": Expected({"other_shape": 1}, refused="answers without requests"),
    "openai_evals.jsonl": converted("openai_evals", 3, OPENING, notes="an example of its own"),
    "openai_responses.jsonl": converted("openai_responses", 2, rain("call_9", system=True), "/output/*/id"),
    "openai_responses_logged.jsonl": converted(
        "openai_responses",
        2,
        chat(("user", "When does the ferry leave?"), ("assistant", "At nine, from the north pier.")),
    ),
    "palm.jsonl": converted(
        "palm", 2, chat(("user", "When does the office open?"), ("assistant", "At eight o'clock."))
    ),
    "palm_chat.jsonl": converted("palm_chat", 2, OPENING),
    "prodigy.jsonl": converted(
        "prodigy",
        2,
        LAMP,
        "/_input_hash",
        "/_task_hash",
        "/options/*/id",
        "/options/*/text",
        "/accept/*",
        notes="Rejected and ignored rows are dropped",
    ),
    "stored_completions.jsonl": converted(
        "stored_completion",
        2,
        OPENING,
        "/request/model",
        *(f"/response/{key}" for key in COMPLETION),
        *(f"/{key}" for key in COMPLETION),
    ),
    "vertex_batch.jsonl": converted(
        "gemini",
        2,
        chat(("user", "When do you open?"), ("assistant", "At eight.")),
        "/response/candidates/*/finishReason",
    ),
}
