"""The operator's checks of `tunegate doctor`: what the settings of the gateway's processes lead to."""

import shutil
from collections.abc import Iterator, Mapping

from cli.database import on_schema
from cli.doctor_checks import REMEDIES, Check
from service.database.encryption import sealer_of
from service.database.engine import Database, create_engine
from service.database.schema import head
from service.errors import SettingsError
from service.monitoring.readiness import Readiness, ReadinessCheck
from service.settings import Settings
from service.start_checks import check_start
from service.storage import Storage
from service.unknown_settings import unknown_settings
from service.upstreams.accounts import DEFAULT_ACCOUNT, NO_UPSTREAM
from service.upstreams.queries import live_accounts
from service.wakeups import Wakeups

MIN_FREE_BYTES = 2 * 1024**3


def operator_checks(environ: Mapping[str, str]) -> Iterator[Check]:
    """The checks, until one fails without which the next ones say nothing."""
    for unknown in unknown_settings(environ):
        yield Check(f"setting {unknown.name}", False, str(unknown), "Correct the name, or remove the variable.")
    try:
        settings = Settings.from_env(environ)
        check_start(settings, port=settings.port)
    except SettingsError as error:
        yield Check("settings", False, "a process would not start", str(error))
        return
    yield Check("settings", True, "`tunegate config` shows them")
    try:
        readiness, accounts = on_schema(settings, lambda: _ask(settings))
    except SettingsError as error:
        yield Check("database", False, "it cannot be used", str(error))
        return
    yield Check("database", True, f"the schema knows revision {head()}")
    for name, remedy in REMEDIES.items():
        if name not in ("database", "schema"):
            value = getattr(readiness, name)
            yield Check("worker" if name == "reconciler" else name, value in ("ok", "not configured"), value, remedy)
    yield from _disk(settings)
    yield from accounts


def _disk(settings: Settings) -> Iterator[Check]:
    if settings.storage_path is not None:
        free = shutil.disk_usage(settings.storage_path.absolute()).free
        text = f"{free / 1024**3:.1f} GiB free at {settings.storage_path}"
        yield Check("disk", free >= MIN_FREE_BYTES, text, "Free space: files and results are stored there.")


async def _ask(settings: Settings) -> tuple[Readiness, list[Check]]:
    db = Database(create_engine(settings.database_url, pool_size=4), Wakeups(settings.redis_url))
    try:
        readiness = await ReadinessCheck(db, Storage(settings.storage_url), sealer_of(settings)).readiness()
        async with db.admin() as session:
            accounts = list(await live_accounts(session))
    finally:
        await db.close()
    checks = [Check("upstream", False, "there is none", NO_UPSTREAM)] if not accounts else []
    for account in accounts:
        failing = account.last_error_kind is not None and (
            account.last_success_at is None
            or (account.last_error_at is not None and account.last_error_at > account.last_success_at)
        )
        found = f"the last call failed ({account.last_error_kind})" if failing else "its last call did not fail"
        if account.id == DEFAULT_ACCOUNT and not settings.has_default_upstream:
            failing, found = True, "OPENAI_BASE_URL and OPENAI_API_KEY are not set here"
        if account.cool_down_reason is not None:
            failing, found = True, f"it cools down: {account.cool_down_reason}"
        remedy = "Check its address and credential; GET /v1/organization/upstreams shows its state (docs/upstreams.md)."
        checks.append(Check(f"upstream {account.name or account.id}", not failing, found, remedy))
    return readiness, checks
