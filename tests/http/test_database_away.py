"""What a caller gets when Postgres is unavailable in ways that otherwise occur only by chance."""

from typing import Any

import pytest
from sqlalchemy import event

from service.database.engine import Database, create_engine
from service.http.errors import as_api_error
from service.wakeups import Wakeups


async def test_connections_that_die_while_they_are_opened_are_no_internal_error(database_url: str) -> None:
    """As when Postgres is killed while it comes up: the pool looks at two new ones and gives up."""
    checked_at = 0

    def kill(connection: Any, record: Any, proxy: Any) -> None:
        nonlocal checked_at
        checked_at += 1
        connection.driver_connection.terminate()

    engine = create_engine(database_url, pool_size=2)
    event.listen(engine.sync_engine, "checkout", kill, insert=True)
    db = Database(engine, Wakeups(""))
    try:
        with pytest.raises(ConnectionError) as raised:
            async with db.admin():
                pass
        assert as_api_error(None, raised.value).status == 503  # type: ignore[arg-type]  # the request is not used
        assert checked_at > 1
        event.remove(engine.sync_engine, "checkout", kill)
        async with db.admin():
            pass
    finally:
        await db.close()
