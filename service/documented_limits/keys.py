"""Bounds of keys and rates."""

from service.database.batched_lookups import MAX_KEYS, MAX_QUERIES
from service.documented_limits.limit import FIXED, Limit, by_setting, shown
from service.http.client_address import MAX_HOPS
from service.identity.refused_requests import UNKNOWN_KEY_SUBJECTS
from service.monitoring.internal_listener import MAX_CONNECTIONS
from service.upstreams.inbound_checks import MAX_WAITING, STORING

KEYS: tuple[Limit, ...] = (
    by_setting(
        "failed_keys_per_minute",
        name="requests a minute with incorrect keys",
        counted="client address in a `tunegate serve`, whose processes have equal parts",
        above="429 `rate_limit_exceeded` for incorrect keys; a valid key is never refused",
        honest_use="a deployment with an outdated key, retried by the SDK, sends some dozens",
    ),
    Limit(
        name="queries for keys at the same time",
        value=shown(MAX_QUERIES),
        counted=f"process, each for up to {MAX_KEYS} keys",
        above="waits for the next query, some milliseconds",
        change=FIXED,
        honest_use="a key is looked up twice a second at most, however often it is used",
    ),
    Limit(
        name="audit entries of unknown keys",
        value=shown(UNKNOWN_KEY_SUBJECTS),
        counted="hour",
        above="counted in the same entries",
        change=FIXED,
        honest_use="one entry with its `count` says what several would",
    ),
    Limit(
        name="addresses of `X-Forwarded-For` that are read",
        value=shown(MAX_HOPS),
        counted="request",
        above="the left ones are not read",
        change=FIXED,
        honest_use="a content delivery network and two load balancers are three",
    ),
    by_setting(
        "failed_keys_per_minute",
        name="upstream webhooks a minute with incorrect signatures",
        counted="client address and upstream account in a `tunegate serve`, whose processes have equal parts",
        above="429 `rate_limit_exceeded` for incorrect signatures; a valid one is never refused for it",
        honest_use="an upstream with an outdated secret repeats each event a few times",
    ),
    by_setting(
        "requests_per_minute",
        name="valid upstream webhooks a minute",
        counted="upstream account",
        above="429 `rate_limit_exceeded`; the upstream sends it again, and polling continues",
        honest_use="an upstream sends one for each job that ends",
    ),
    Limit(
        name="valid upstream webhooks that are stored at the same time",
        value=shown(STORING),
        counted="process; an account gets at most half of the places that others leave",
        above=f"waits; 429 `rate_limit_exceeded` above {MAX_WAITING:,} of an account",
        change=FIXED,
        honest_use="storing one takes some milliseconds",
    ),
    Limit(
        name="connections of the internal listener",
        value=shown(MAX_CONNECTIONS),
        counted="process",
        above="503",
        change=FIXED,
        honest_use="a monitoring system opens one or two",
    ),
    by_setting(
        "requests_per_minute",
        name="requests a minute",
        counted="project; see the rate limits above",
        above="429 `rate_limit_exceeded`",
        honest_use="a hundred jobs polled every ten seconds are 600",
    ),
)
"""Requests and keys."""
