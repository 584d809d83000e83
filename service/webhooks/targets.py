"""Where a webhook may be sent: the address rules of `service/egress`, worded for a webhook's URL. Pure.

The address is checked again when it is dialled (`sender.py`), because a name can change in between.
"""

from service.egress import addresses
from service.egress.addresses import ForbiddenHost, MalformedUrl, Reach, Target
from service.errors import InvalidRequest


def parse_webhook_url(url: str, reach: Reach = Reach.PUBLIC) -> Target:
    """Split a webhook's URL into its target. Raises `InvalidRequest`, as `refusal_of` words it."""
    try:
        return addresses.parse(url, reach)
    except (MalformedUrl, ForbiddenHost) as error:
        raise refusal_of(error) from None


def refusal_of(error: MalformedUrl | ForbiddenHost) -> InvalidRequest:
    """The refusal of a webhook's `url`: `invalid_webhook_url` or `forbidden_webhook_target`."""
    if isinstance(error, MalformedUrl):
        return InvalidRequest(f"The webhook URL {error.problem}.", param="url", code="invalid_webhook_url")
    return InvalidRequest(
        f"Webhooks are not sent to {error.host}: {error.reason}. Give an address that is reachable from the internet.",
        param="url",
        code="forbidden_webhook_target",
    )
