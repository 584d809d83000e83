"""The prompts of a generation, and the bodies of its calls. Pure.

Prompts ask for variety (a different angle for each example, and nothing that was accepted before) and forbid filler
openings, which a model learns first. The checks in `checks/answers.py` remove what remains.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import msgspec

from service.runs.generations.options import GenerationPlanOptions, Step

QUESTION = """\
Write one message that a real person might send to an assistant about this topic: {topic}

It is number {number} of {n} about this topic, and each is to be about something else. For this one: {angle}.
Write in the language of the topic. Write the message and nothing else: no introduction, no quotation marks, no \
numbering, no answer."""

REQUEST = """\
Write one message that a real person might send to an assistant that can call the function below. The topic: {topic}

It is number {number} of {n} about this topic, and each is to be about something else. For this one: {angle}.
The message holds everything that the function's required parameters need, in a person's own words and with concrete \
values, and does not name the function. Write in the language of the topic. Write the message and nothing else: no \
introduction, no quotation marks, no numbering.

The function: {function}"""

ANSWER = """\
Begin with what is asked, at once: no filler such as "Sure!", "Of course!", "Certainly!", "好的", "没问题" or \
"当然可以！", no praise of the question and no repetition of it. Say what is needed, end when it is said, and write in \
the language of the question."""

CALL = """\
Call the function that the message needs, with arguments taken from the message. Answer by the call alone, not in \
words."""

RETRY = "The call before was not usable: {fault} Make one that is."
PREVIOUS_QUESTIONS = "These messages are there already; write one about something else:\n{questions}"

ANGLES = (
    "someone who is new to it asks for the basics",
    "someone with experience asks about a detail",
    "someone describes a concrete situation and wants advice",
    "someone wants two things compared",
    "someone has a wrong idea of it and wants to know why it does not work out",
    "someone wants to know how to do it, step by step",
    "someone asks why it is so",
    "someone names figures, dates or places and asks about them",
)

MAX_SHOWN_QUESTIONS = 10
MAX_SHOWN_QUESTION_CHARS = 200


def question_body(options: GenerationPlanOptions, item: int, attempt: int, accepted: Sequence[str]) -> dict[str, Any]:
    """The body of the call for an example's question. `accepted` are the accepted questions of its topic."""
    function = options.tool_of(item)
    template = options.question.prompt or (QUESTION if function is None else REQUEST)
    topic = options.topic_of(item)
    prompt = template
    for name, value in (
        ("{number}", str(options.number_of(item))),
        ("{n}", str(options.n_per_topic)),
        ("{angle}", ANGLES[(options.number_of(item) + attempt + options.seed) % len(ANGLES)]),
        ("{function}", "" if function is None else msgspec.json.encode(function).decode()),
        ("{topic}", topic),
    ):
        prompt = prompt.replace(name, value)
    if "{topic}" not in template:
        prompt = f"{prompt}\n\n{topic}"
    if accepted:
        shown = "\n".join(f"- {question[:MAX_SHOWN_QUESTION_CHARS]}" for question in accepted[-MAX_SHOWN_QUESTIONS:])
        prompt = f"{prompt}\n\n{PREVIOUS_QUESTIONS.format(questions=shown)}"
    return {
        "messages": [{"role": "user", "content": prompt}],
        **_sampling(options.question, options.question.max_tokens),
        "seed": seed_of(options.seed, "question", item, attempt),
    }


def answer_body(
    options: GenerationPlanOptions, item: int, question: str, *, attempt: int, larger: bool, fault: str | None
) -> dict[str, Any]:
    """The body of the call for an example's answer. `larger` raises its limit; `fault` is what was wrong before."""
    step, function = options.answer, options.tool_of(item)
    instructions = step.prompt or (ANSWER if function is None else CALL)
    if fault is not None:
        instructions = f"{instructions}\n\n{RETRY.format(fault=fault)}"
    system = instructions
    if options.system_prompt is not None:
        system = f"{options.system_prompt}\n\n{instructions}"
    tools: dict[str, Any] = {}
    if function is not None:
        tools = {
            "tools": options.tools,
            "tool_choice": {"type": "function", "function": {"name": function["name"]}},
        }
    return {
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": question}],
        **tools,
        **_sampling(step, step.larger_max_tokens if larger else step.max_tokens),
        "seed": seed_of(options.seed, "answer", item, attempt),
    }


def seed_of(seed: int, step: str, item: int, attempt: int) -> int:
    """The seed of one call: an upstream that honours seeds answers a repeated run in the same way."""
    return zlib.crc32(f"{seed}/{step}/{item}/{attempt}".encode()) & 0x7FFF_FFFF


def _sampling(step: Step, max_tokens: int) -> dict[str, Any]:
    sampling: dict[str, Any] = {"max_completion_tokens": max_tokens}
    if step.temperature is not None:
        sampling["temperature"] = step.temperature
    return sampling
