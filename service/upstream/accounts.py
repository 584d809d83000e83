"""Upstream accounts. One for now: `default`, which the environment describes; its credential is not stored."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.errors import SettingsError
from service.models.catalogue import provider_of
from service.settings import Settings
from service.tables import UpstreamAccount
from service.upstream.openai import OpenAIUpstream
from service.upstream.port import Upstream

DEFAULT_ACCOUNT = "default"


def open_upstream(settings: Settings) -> Upstream:
    """The adapter for the environment's upstream. Raises `SettingsError` when there is none."""
    if not settings.upstream_base_url or not settings.upstream_api_key:
        raise SettingsError("Set OPENAI_BASE_URL and OPENAI_API_KEY to the upstream that trains.")
    return OpenAIUpstream(
        account_id=DEFAULT_ACCOUNT,
        provider=provider_of(settings.upstream_base_url),
        base_url=settings.upstream_base_url,
        api_key=settings.upstream_api_key,
        control_timeout=settings.control_timeout_seconds,
        upload_timeout=settings.upload_timeout_seconds,
        inference_timeout=settings.inference_timeout_seconds,
    )


async def ensure_default_account(session: AsyncSession, settings: Settings) -> None:
    """The default account's row, with the base URL that is in use now. The worker calls this at start-up."""
    await session.execute(
        insert(UpstreamAccount)
        .values(id=DEFAULT_ACCOUNT, kind="openai", base_url=settings.upstream_base_url)
        .on_conflict_do_update(index_elements=["id"], set_={"base_url": settings.upstream_base_url})
    )
