"""What a process checks before it starts: each setting that it would otherwise stumble over later, with a traceback."""

from urllib.parse import urlsplit

from service.catalogue import models_file
from service.database.encryption import sealer_of
from service.database.problems import check_url
from service.errors import SettingsError
from service.settings import Settings
from service.storage import Storage
from service.wakeups import check_redis_url


def check_start(settings: Settings, *, port: int) -> None:
    """Raise `SettingsError`, in words, for settings with which neither API nor worker can work.

    `port` is the one on which the API serves. What another server decides, such as a password, is not checked here.
    """
    _check_upstream(settings, port)
    check_url(settings.database_url)
    check_redis_url(settings.redis_url)
    sealer_of(settings)
    Storage(settings.storage_url)
    if settings.models_file:
        models_file.load(settings.models_file, with_tokenizers=True)


def _check_upstream(settings: Settings, port: int) -> None:
    url = settings.upstream_base_url
    if not url:
        return
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise SettingsError(f"OPENAI_BASE_URL must be a URL such as https://api.openai.com/v1, not {url!r}.")
    if not settings.upstream_api_key:
        raise SettingsError(
            "OPENAI_BASE_URL is set without OPENAI_API_KEY. Set both, or neither: accounts can be added later, by "
            "POST /v1/organization/upstreams."
        )
    if settings.upstream_is_self(port):
        raise SettingsError(
            "OPENAI_BASE_URL points at this gateway itself: every job would create another one. Set it to the "
            "upstream's address, or unset it."
        )
