"""Refuses a URL that no route has, and says which one is probably meant."""

from litestar.types import Scope

from service.errors import NotFound
from service.http.azure_urls import AZURE_PREFIX, sent_path

OLD_FINE_TUNES = "/v1/fine-tunes"
_CHAT_INSTEAD = "This service has /v1/chat/completions instead, in the SDK client.chat.completions.create(...)."
_INSTEAD = {
    "/v1/responses": _CHAT_INSTEAD,
    "/v1/messages": _CHAT_INSTEAD,
    "/v1/engines/": "Name the model in the body: POST /v1/completions or /v1/chat/completions.",
}
_BEGINNINGS = ("/files", "/uploads", "/fine_tuning/", "/models", "/chat/", "/completions", "/organization/", "/project")


def unknown_url(scope: Scope, method: str) -> NotFound:
    """The refusal of a request for which there is no route."""
    path = sent_path(scope)
    if path.startswith(OLD_FINE_TUNES):
        return NotFound(
            "The fine-tunes API was shut down in 2024. Use /v1/fine_tuning/jobs, "
            "in the SDK client.fine_tuning.jobs.create(...).",
            code="endpoint_shut_down",
        )
    return NotFound(
        f"Unknown request URL: {method} {path}. {_advice(path, scope['path'])}See /docs for the routes.",
        code="unknown_url",
    )


def _advice(path: str, meant: str) -> str:
    for beginning, instead in _INSTEAD.items():
        if meant.startswith(beginning):
            return f"{instead} "
    if path.startswith("/v1/v1/"):
        return "It begins with /v1 twice: your client adds /v1 to the base URL, so leave it out there. "
    if path.startswith(_BEGINNINGS):
        return "The base URL must end with /v1. "
    if f"{AZURE_PREFIX}/" in path[1:]:
        return "azure_endpoint is this service's address alone, without /v1 or /openai. "
    if path.startswith(f"{AZURE_PREFIX}/"):
        return (
            "AzureOpenAI takes this service's address as azure_endpoint, or with /openai/v1 as base_url; OpenAI takes "
            "it with /v1 as base_url. Deployments have chat/completions and completions, and the organisation's API is "
            "under /v1 only. "
        )
    return ""
