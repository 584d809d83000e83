"""OpenAI's Batch API: its input has requests without answers, its output answers without requests.

Source of the shape: OpenAI's guide to the Batch API. A row with both, as people join them by `custom_id`, is converted
as a stored completion.
"""

from __future__ import annotations

from service.datasets.shapes.registry import Row, Shape, register


def _is_request(row: Row) -> bool:
    return "custom_id" in row and isinstance(row.get("body"), dict) and ("url" in row or "method" in row)


def _is_answer(row: Row) -> bool:
    known = "response" in row and ("error" in row or isinstance(row["response"], dict))
    return "custom_id" in row and known and not row.keys() & {"body", "request", "messages", "input"}


BATCH_INPUT = register(
    Shape(
        name="openai_batch_input",
        title="the input of OpenAI's Batch API",
        keys="`custom_id`, `url` and `body`",
        format=None,
        recognises=lambda row: _is_request(row) and "response" not in row,
        advice="They are requests without answers. Join each `body.messages` with the answer that the batch's output "
        'file has under the same `custom_id`: {"messages": […], "response": …} is converted.',
    )
)

BATCH_OUTPUT = register(
    Shape(
        name="openai_batch_output",
        title="the output of OpenAI's Batch API",
        keys="`custom_id` and `response`",
        format=None,
        recognises=_is_answer,
        advice="They are answers without requests. Join each with `body.messages` of the batch's input file, which has "
        'the same `custom_id`: {"messages": […], "response": …} is converted.',
    )
)
