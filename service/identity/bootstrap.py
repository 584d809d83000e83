"""Creates the first project and the first keys, for the command line and the development stack."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database, create_engine
from service.database.tables import ApiKey, Project
from service.errors import SettingsError
from service.identity import audit
from service.identity.keys import fingerprint, new_key, redacted
from service.ids import new_id
from service.settings import Settings
from service.states import KeyKind
from service.wakeups import Wakeups

DEFAULT_PROJECT = "default"


def new_project_key() -> str:
    """A fresh key for a project."""
    return new_key("project")


def new_admin_key() -> str:
    """A fresh key for the organisation's API."""
    return new_key("admin")


async def ensure_default_project(settings: Settings, *, api_key: str, admin_key: str) -> None:
    """Create the project "default" with these two keys if they do not exist. Running it twice changes nothing."""
    db = _open(settings)
    async with db.admin() as session:
        project_id = await session.scalar(select(Project.id).where(Project.name == DEFAULT_PROJECT).limit(1))
        if project_id is None:
            project_id = await _add_project(session, DEFAULT_PROJECT)
        for kind, key in (("project", api_key), ("admin", admin_key)):
            added = await session.scalar(
                insert(ApiKey)
                .values(
                    id=new_id("key_"),
                    project_id=project_id if kind == "project" else None,
                    kind=kind,
                    name=DEFAULT_PROJECT,
                    sha256=fingerprint(key),
                    redacted_value=redacted(key),
                )
                .on_conflict_do_nothing(index_elements=["sha256"])
                .returning(ApiKey.id)
            )
            if added is not None:
                owner = project_id if kind == "project" else None
                await _record_key(session, added, owner, name=DEFAULT_PROJECT, kind=kind, scopes=())
    await db.close()


async def create_key(
    settings: Settings, *, kind: KeyKind, name: str, project: str = DEFAULT_PROJECT, scopes: Sequence[str] = ()
) -> str:
    """Create a key and return its value, which is stored nowhere.

    A project key belongs to the active project whose name or id is `project`; the default project is created if it does
    not exist. Raises `SettingsError` for any other unknown project, and for a name that several projects share.
    """
    key = new_key(kind)
    db = _open(settings)
    try:
        async with db.admin() as session:
            project_id = await _find_project(session, project) if kind == "project" else None
            key_id = new_id("key_")
            session.add(
                ApiKey(
                    id=key_id,
                    project_id=project_id,
                    kind=kind,
                    name=name,
                    sha256=fingerprint(key),
                    redacted_value=redacted(key),
                    scopes=list(scopes),
                )
            )
            await session.flush()
            await _record_key(session, key_id, project_id, name=name, kind=kind, scopes=scopes)
    finally:
        await db.close()
    return key


async def _find_project(session: AsyncSession, project: str) -> str:
    named = (Project.name == project) | (Project.id == project)
    found = (await session.scalars(select(Project.id).where(named, Project.status == "active"))).all()
    match list(found):
        case [project_id]:
            return project_id
        case [] if project == DEFAULT_PROJECT:
            return await _add_project(session, DEFAULT_PROJECT)
        case []:
            raise SettingsError(f"There is no active project named {project!r}.")
        case several:
            raise SettingsError(f"Several projects are named {project!r}. Give the id: {', '.join(several)}.")


async def _add_project(session: AsyncSession, name: str) -> str:
    project_id = new_id("proj_")
    session.add(Project(id=project_id, name=name))
    await session.flush()
    data = {"name": name, "title": name}
    await audit.record(
        session, audit.SYSTEM, "project.created", project_id=project_id, resource_id=project_id, data=data
    )
    return project_id


async def _record_key(
    session: AsyncSession, key_id: str, project_id: str | None, *, name: str, kind: str, scopes: Sequence[str]
) -> None:
    data = {"name": name, "scopes": list(scopes), "kind": kind}
    await audit.record(session, audit.SYSTEM, "api_key.created", project_id=project_id, resource_id=key_id, data=data)


def _open(settings: Settings) -> Database:
    return Database(create_engine(settings.database_url, pool_size=1), Wakeups(""))
