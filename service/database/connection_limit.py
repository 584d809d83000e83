"""Whether the pools of a program fit into the connections that Postgres accepts."""

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.database.engine import Database, create_engine
from service.settings import Settings
from service.wakeups import Wakeups

log = structlog.get_logger()

_ACCEPTED = text(
    "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true)::int, 0)"
)


async def warn_of_too_few_connections(settings: Settings, *, processes: int, application: str) -> None:
    """Log a warning if the pools of `processes` may grow above what Postgres accepts: some requests would get 503.

    Pools grow under load only, and other programs' connections count as well, so this is no error. An unavailable
    database is no reason to warn.
    """
    db = Database(create_engine(settings.database_url, pool_size=1, application=application), Wakeups(""))
    try:
        async with db.admin() as session:
            accepted = (await session.execute(_ACCEPTED)).scalar_one()
    except (DBAPIError, OSError):
        return
    finally:
        await db.close()
    if processes * settings.database_pool_size > accepted:
        log.warning(
            "database.too_few_connections",
            accepted=accepted,
            processes=processes,
            pool_size=settings.database_pool_size,
            advice="Raise max_connections of Postgres, or lower TUNEGATE_DATABASE_POOL_SIZE.",
        )
