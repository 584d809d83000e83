"""Where an upstream account may be: the rules of webhooks' targets, said of a base URL. Pure.

The address itself is checked again where it is dialled (`transport.py`), for names can change.
"""

from urllib.parse import urlsplit

from service.egress import addresses
from service.egress.addresses import Reach
from service.errors import InvalidRequest

FORBIDDEN = "forbidden_webhook_target"


def checked_base_url(base_url: str, kind: str, reach: Reach, *, own_hosts: frozenset[str]) -> str:
    """The base URL as it is kept. Raises `InvalidRequest` for one that is malformed, ours, or where `reach` ends.

    `own_hosts` are the `host:port` pairs that this gateway knows itself by: a job sent there would come back for ever.
    """
    try:
        target = addresses.parse(base_url, reach)
    except InvalidRequest as refused:
        if refused.code == FORBIDDEN:
            raise _forbidden(refused.message) from None
        raise _invalid(refused.message.removeprefix("The webhook URL ").rstrip(".")) from None
    if f"{target.host}:{target.port}" in own_hosts:
        raise InvalidRequest(
            "The base URL is this gateway's own: every job would create another one. Give the upstream's.",
            param="base_url",
            code="invalid_upstream_url",
        )
    parts = urlsplit(base_url)
    if parts.query or "?" in base_url:
        raise _invalid("has a query: give `api_version` beside it instead")
    path = parts.path.rstrip("/")
    if kind == "azure" and path:
        raise _invalid(f"must be the resource's endpoint alone, without {path}")
    return f"{target.scheme}://{target.authority}{path}"


def _invalid(what: str) -> InvalidRequest:
    return InvalidRequest(f"The base URL {what}.", param="base_url", code="invalid_upstream_url")


def _forbidden(message: str) -> InvalidRequest:
    where = message.removeprefix("Webhooks are not sent to ").partition(" Give an address")[0]
    return InvalidRequest(
        f"An upstream cannot be at {where} Give an address that is reachable from the internet, or ask an "
        "administrator to add the account.",
        param="base_url",
        code="forbidden_upstream_target",
    )
