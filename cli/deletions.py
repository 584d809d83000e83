"""`tunegate deletions`: lists failed deletions for the platform team, retries them or accepts them as done."""

from rich.console import Console
from rich.table import Table
from sqlalchemy import func, update

from cli.database import on_schema
from service.database.engine import Database, create_engine
from service.database.tables import Deletion
from service.deletions.queries import failed_deletions
from service.identity import audit
from service.settings import Settings
from service.wakeups import Wakeups

MAX_LISTED = 1000
EXIT_NONE, EXIT_SOME = 0, 1


def show_failed(settings: Settings) -> int:
    """Print the failed deletions. Returns 1 if there are any, so that a script can check it."""
    rows = on_schema(settings, lambda: _failed(settings))
    if not rows:
        print("Nothing has failed to be deleted.")
        return EXIT_NONE
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("deletion", "project", "kind", "account", "upstream id", "why"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(row.id, row.project_id, row.kind, row.account_id, row.upstream_id, row.last_error)
    Console(highlight=False).print(table)
    return EXIT_SOME


def resolve_failed(settings: Settings, deletion: str, *, accept: bool) -> int:
    """Retry a failed deletion (or `all` of them), or with `accept` mark it as done. Returns the exit status."""
    count = on_schema(settings, lambda: _resolve(settings, deletion, accept=accept))
    if not count:
        print(f"Nothing that failed is called {deletion}.")
        return EXIT_SOME
    print(f"{count} {'taken as done' if accept else 'tried again'}.")
    return EXIT_NONE


async def _failed(settings: Settings) -> list[Deletion]:
    db = _open(settings)
    try:
        async with db.admin() as session:
            return list(await failed_deletions(session, limit=MAX_LISTED))
    finally:
        await db.close()


async def _resolve(settings: Settings, deletion: str, *, accept: bool) -> int:
    values: dict[str, object] = {"status": "done"}
    if not accept:
        values = {"status": "pending", "failures": 0, "finished_at": None, "due_at": func.now()}
    db = _open(settings)
    try:
        async with db.admin() as session:
            chosen = Deletion.status == "failed"
            if deletion != "all":
                chosen = chosen & (Deletion.id == deletion)
            rows = (
                await session.execute(
                    update(Deletion).where(chosen).values(**values).returning(Deletion.id, Deletion.project_id)
                )
            ).all()
            for row in rows:
                await audit.record(
                    session,
                    audit.SYSTEM,
                    "deletion.accepted" if accept else "deletion.retried",
                    project_id=row.project_id,
                    resource_id=row.id,
                )
        return len(rows)
    finally:
        await db.close()


def _open(settings: Settings) -> Database:
    return Database(create_engine(settings.database_url, pool_size=1), Wakeups(settings.redis_url))
