"""Asks for a gateway and its keys, verifies them by a call each, and stores them as a profile."""

import getpass
import os
import sys

from cli.client import Client
from cli.errors import Refused
from cli.gateway import Gateway
from cli.profiles import Profile, load, profiles_file, save
from service.errors import SettingsError

ADMIN_PREFIX = "tg_admin_"


def log_in(*, base_url: str | None, keys: tuple[str | None, str | None], profile: str, stdin: bool) -> None:
    """Store a profile. Raises `SettingsError` for what is missing, `Refused` if the gateway refuses a key."""
    url = base_url or os.environ.get("OPENAI_BASE_URL", "") or _prompted("Base URL (ending in /v1): ", hidden=False)
    api_key, admin_key = keys
    if stdin:
        for line in filter(None, map(str.strip, sys.stdin)):
            if line.startswith(ADMIN_PREFIX):
                admin_key = line
            else:
                api_key = line
    elif api_key is None and admin_key is None:
        api_key = _prompted("Project's key (empty for none): ", hidden=True)
        admin_key = _prompted("Admin key (empty for none): ", hidden=True)
    if not api_key and not admin_key:
        raise SettingsError("Give a project's key, an admin key, or both: --stdin, --api-key, --admin-key.")
    gateway = Gateway.of(url, api_key or "", admin_key or "")
    if gateway.api_key:
        with Client(gateway.base_url, gateway.api_key) as client:
            print(f"The key is of the project {_verified(client, '/project').get('name')}.")
    if gateway.admin_key:
        with Client(gateway.base_url, gateway.admin_key) as client:
            _verified(client, "/organization/projects")
            print("The admin key is valid.")
    file = profiles_file(os.environ)
    made = Profile(base_url=gateway.base_url, api_key=gateway.api_key, admin_key=gateway.admin_key)
    save(file, load(file).with_profile(profile, made))
    print(f"The profile {profile} is stored in {file}, and is the current one.")


def _verified(client: Client, path: str) -> dict[str, object]:
    try:
        return client.get(path)
    except Refused as refused:
        raise Refused(f"Nothing is stored: {refused}", status=refused.status, code=refused.code) from None


def _prompted(prompt: str, *, hidden: bool) -> str:
    if not sys.stdin.isatty():
        raise SettingsError("There is no terminal to ask at. Give --base-url, and the keys by --stdin.")
    try:
        return (getpass.getpass(prompt) if hidden else input(prompt)).strip()
    except EOFError:
        return ""
