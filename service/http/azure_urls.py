"""The URLs of Azure's clients, which mean the same as those under `/v1`.

The SDK's `AzureOpenAI` sends `/openai/files?api-version=…`, and inference to `/openai/deployments/{name}/…`; Azure's
newer API is `/openai/v1/…`. They are rewritten before routing, so that routes, metrics, logs and repeated requests have
one URL only. The organisation's API is under `/v1` alone: what a proxy in front forbids there is not elsewhere too.
"""

import re
from typing import Any, cast

from litestar.types import Scope

AZURE_PREFIX = "/openai"
SENT_PATH = "tunegate_sent_path"
"""The key in the scope of the path that the client has sent, if it was rewritten."""

DEPLOYMENT = "tunegate_deployment"
"""The key in the scope of the deployment that the path names: the model, whatever the body says."""

_OF_ADMINISTRATORS = ("/organization", "/fine_tuning/checkpoints")
_DEPLOYMENT = re.compile(r"/deployments/(.+?)(/chat/completions|/completions)\Z")
_SLASHES = re.compile("//+")
_API_VERSION = b"api-version="


def rewrite(scope: Scope) -> None:
    """Give a request with a URL of Azure's clients the path under `/v1`, and drop the query parameter `api-version`."""
    details = cast("dict[str, Any]", scope)
    query: bytes = details.get("query_string", b"")
    if _API_VERSION in query:
        details["query_string"] = b"&".join(pair for pair in query.split(b"&") if not pair.startswith(_API_VERSION))
    sent: str = details["path"]
    rest = _rest(sent)
    if rest is None:
        return
    details[SENT_PATH] = sent
    if named := _DEPLOYMENT.match(rest):
        details[DEPLOYMENT], rest = named.groups()
    details["path"] = f"/v1{rest}"
    details["raw_path"] = details["path"].encode()


def deployment_of(scope: Scope) -> str | None:
    """The deployment that the path of a request named."""
    return cast("dict[str, Any]", scope).get(DEPLOYMENT)


def sent_path(scope: Scope) -> str:
    """The path as the client has sent it."""
    path: str = cast("dict[str, Any]", scope).get(SENT_PATH, scope["path"])
    return path


def _rest(path: str) -> str | None:
    """What follows `/v1` in the path that is meant, or None for a path that is not Azure's."""
    path = _SLASHES.sub("/", path)  # as the framework reads it
    if path.startswith("/v1/deployments/"):
        return path.removeprefix("/v1")
    if not path.startswith(f"{AZURE_PREFIX}/"):
        return None
    rest = path.removeprefix(AZURE_PREFIX)
    rest = rest.removeprefix("/v1") if rest.startswith("/v1/") else rest
    return None if rest.startswith(_OF_ADMINISTRATORS) else rest
