"""Inference requests: the decoded body of a call, with the route of its model."""

from dataclasses import dataclass
from typing import Any

from service.errors import InvalidRequest
from service.http.bodies import decode_plain
from service.http.json_faults import is_blank, not_an_object, with_note_of_empty_body
from service.inference.bounds import max_output_tokens
from service.inference.routing import Route, Router
from service.off_loop import off_loop

STREAM_OPTIONS = "stream_options"


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """One call. `body` is what the upstream is sent, and has about `size_bytes` as JSON; `output_tokens` is the longest
    answer that the call allows."""

    project_id: str
    path: str
    route: Route
    output_tokens: int
    body: dict[str, Any]
    size_bytes: int = 0


async def read_inference_request(
    raw: bytes, *, path: str, router: Router, project_id: str, deployment: str | None = None
) -> InferenceRequest:
    """Decode a body and route its model: the `deployment` if the URL names one, as Azure does.

    Raises `InvalidRequest` for a body that cannot be read, and as `Router.route`.
    """
    body = await off_loop(len(raw), decode_plain, raw)
    if deployment is not None and isinstance(body, dict):
        body = {**body, "model": deployment}
    elif is_blank(raw):
        raise with_note_of_empty_body(_no_model())
    return await inference_request_of(body, path=path, router=router, project_id=project_id, size_bytes=len(raw))


async def inference_request_of(
    body: Any, *, path: str, router: Router, project_id: str, size_bytes: int = 0
) -> InferenceRequest:
    """Check a decoded body and route its model. Raises as `read_inference_request`."""
    if not isinstance(body, dict):
        raise not_an_object(body)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise _no_model()
    if body.get("stream") not in (None, False, True):
        raise InvalidRequest("'stream' must be true or false.", param="stream", code="invalid_type")
    if not isinstance(body.get(STREAM_OPTIONS), dict | None):
        raise InvalidRequest(f"'{STREAM_OPTIONS}' must be an object.", param=STREAM_OPTIONS, code="invalid_type")
    route = await router.route(model, project_id)
    return InferenceRequest(
        project_id=project_id,
        path=path,
        route=route,
        output_tokens=max_output_tokens(body, path=path, model=route.base),
        body={**body, "model": route.upstream_model},
        size_bytes=size_bytes,
    )


def _no_model() -> InvalidRequest:
    return InvalidRequest(
        "Missing required parameter: 'model'. Send a model's name; GET /v1/models lists yours.",
        param="model",
        code="missing_required_parameter",
    )
