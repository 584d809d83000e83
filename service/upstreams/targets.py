"""Where an upstream account may be: the address rules of `service/egress`, worded for a base URL. Pure.

The address is checked again when it is dialled (`adapters/transport.py`), because a name can change in between.
"""

from urllib.parse import urlsplit

from service.egress import addresses
from service.egress.addresses import ForbiddenHost, MalformedUrl, Reach
from service.errors import InvalidRequest


def checked_base_url(base_url: str, kind: str, reach: Reach, *, own_hosts: frozenset[str]) -> str:
    """The base URL in the form that is stored.

    Raises `InvalidRequest` for a URL that is malformed, leads outside `reach`, or is this gateway's own: `own_hosts`
    are the gateway's `host:port` pairs, and a job sent to one of them would create jobs without end.
    """
    try:
        target = addresses.parse(base_url, reach)
    except MalformedUrl as error:
        raise _invalid(error.problem) from None
    except ForbiddenHost as error:
        raise _forbidden(error) from None
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


def _invalid(problem: str) -> InvalidRequest:
    return InvalidRequest(f"The base URL {problem}.", param="base_url", code="invalid_upstream_url")


def _forbidden(error: ForbiddenHost) -> InvalidRequest:
    return InvalidRequest(
        f"An upstream cannot be at {error.host}: {error.reason}. Give an address that is reachable from the "
        "internet, or ask an administrator to add the account.",
        param="base_url",
        code="forbidden_upstream_target",
    )
