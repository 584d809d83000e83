"""`/readyz` knows a master key that opens nothing."""

import base64
import dataclasses

import pytest
from sqlalchemy import insert

from service.database.encryption import Sealer, sealer_of
from service.database.engine import Database, create_engine
from service.database.tables import UpstreamAccount
from service.monitoring.readiness import ReadinessCheck
from service.settings import Settings
from service.storage import Storage
from service.upstreams.credentials import context_of
from service.wakeups import Wakeups

OTHER = base64.b64encode(b"o" * 32).decode()


@pytest.mark.parametrize(
    ("stored_under", "old_keys", "status"),
    [("none", "", "degraded"), ("this", "", "degraded"), ("other", "", "unavailable"), ("other", OTHER, "degraded")],
)
async def test_a_key_that_opens_no_stored_secret_is_not_ready(
    settings: Settings, stored_under: str, old_keys: str, status: str
) -> None:
    settings = dataclasses.replace(settings, old_master_keys=old_keys)
    sealers = {"this": sealer_of(settings), "other": Sealer(base64.b64decode(OTHER))}
    db = Database(create_engine(settings.database_url, pool_size=2), Wakeups(""))
    try:
        if stored_under in sealers:
            sealed = sealers[stored_under].seal(b"sk", context=context_of("up_1"))
            values = {"id": "up_1", "kind": "openai", "name": "one", "base_url": "http://127.0.0.1:1/v1"}
            async with db.admin() as session:
                await session.execute(insert(UpstreamAccount).values(**values, credential_sealed=sealed))
        found = await ReadinessCheck(db, Storage(settings.storage_url), sealer_of(settings)).readiness()
    finally:
        await db.close()
    assert found.status == status, found
    assert ("opens none of the stored secrets" in found.master_key) == (status == "unavailable")
