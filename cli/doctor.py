"""`tunegate doctor`: checks from the client's side, and from the operator's where DATABASE_URL is set."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from email.utils import parsedate_to_datetime
from time import time
from urllib.parse import urlsplit

import httpx2
from rich.text import Text

from cli.client import Client
from cli.connection import Connection
from cli.doctor_checks import REMEDIES, Check
from cli.errors import Refused
from cli.gateway import Gateway
from cli.output import console, print_json
from service.errors import SettingsError

TIMEOUT_SECONDS = 10.0
MAX_SKEW_SECONDS = 60.0
"""Signatures of webhooks are valid for five minutes; a clock this far off shows in every list."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def diagnose(environ: Mapping[str, str], connection: Connection, *, as_json: bool) -> int:
    """Print every check. Returns 1 if one fails."""
    checks: list[Check] = []
    to = console()
    for check in _all(environ, connection):
        checks.append(check)
        if not as_json:
            sign, style = ("✓", "green") if check.ok else ("✗", "bold red")
            to.print(Text.assemble((sign, style), f" {check.name}: {check.found}"), soft_wrap=True)
            if not check.ok:
                to.print(Text(f"  {check.remedy}", style="yellow"), soft_wrap=True)
    well = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": well, "checks": [asdict(check) for check in checks]})
    return 0 if well else 1


def _all(environ: Mapping[str, str], connection: Connection) -> Iterator[Check]:
    try:
        gateway = connection.gateway()
    except SettingsError as error:
        if not environ.get("DATABASE_URL"):
            yield Check("gateway", False, "none is known", str(error))
    else:
        yield from _client_checks(gateway)
    if environ.get("DATABASE_URL"):
        from cli.doctor_operator import operator_checks

        yield from operator_checks(environ)


def _client_checks(gateway: Gateway) -> Iterator[Check]:
    parts = urlsplit(gateway.base_url)
    try:
        response = httpx2.get(f"{parts.scheme}://{parts.netloc}/readyz", timeout=TIMEOUT_SECONDS)
        state = response.json()
        skew_seconds = parsedate_to_datetime(response.headers["date"]).timestamp() - time()
        if not isinstance(state, dict) or "reconciler" not in state:
            raise ValueError("no readiness")
    except httpx2.HTTPError as error:
        advice = "Check the certificate and SSL_CERT_FILE." if "CERTIFICATE" in str(error) else "Is it started?"
        yield Check("gateway", False, f"{gateway.base_url} cannot be reached: {error}", f"Check the base URL. {advice}")
        return
    except (ValueError, KeyError, TypeError):
        yield Check("gateway", False, f"{gateway.base_url} is not a gateway", "Check the base URL: it ends in /v1.")
        return
    yield Check("gateway", True, f"{gateway.base_url} responds; from {gateway.origin[0].lower()}{gateway.origin[1:]}")
    encrypted = parts.scheme == "https" or parts.hostname in LOOPBACK
    found = "https" if parts.scheme == "https" else "http on this machine" if encrypted else "http: keys can be read"
    yield Check("TLS", encrypted, found, "Use https: put a proxy with a certificate before the gateway.")
    if abs(skew_seconds) < MAX_SKEW_SECONDS:
        yield Check("clock", True, "agrees with the gateway's")
    else:
        yield Check("clock", False, f"{skew_seconds:+.0f} s from the gateway's", "Synchronise both clocks by NTP.")
    for name, remedy in REMEDIES.items():
        if (value := state.get(name)) is not None:
            yield Check(f"gateway's {name}", value in ("ok", "not configured"), str(value), remedy)
    yield from _key_checks(gateway)


def _key_checks(gateway: Gateway) -> Iterator[Check]:
    for name, key, path in (
        ("project's key", gateway.api_key, "/project"),
        ("admin key", gateway.admin_key, "/organization/projects"),
    ):
        if not key:
            continue
        try:
            with Client(gateway.base_url, key) as client:
                found = client.get(path)
        except Refused as refused:
            yield Check(name, False, str(refused), f"{gateway.origin} has it. Set another key, or `tunegate login`.")
        else:
            yield Check(name, True, f"valid, of the project {found['name']}" if "name" in found else "valid")
