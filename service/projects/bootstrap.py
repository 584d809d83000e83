"""The first project and the first keys, made by an explicit command or by the development stack."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from service.db import Database, create_engine
from service.doorbell import Doorbell
from service.errors import SettingsError
from service.ids import new_id
from service.projects.keys import fingerprint, hint, new_key
from service.settings import Settings
from service.tables import ApiKey, Project

DEFAULT_PROJECT = "default"


def new_project_key() -> str:
    """A fresh key for a project."""
    return new_key("project")


def new_admin_key() -> str:
    """A fresh key for the organisation's API."""
    return new_key("admin")


async def ensure_default_project(settings: Settings, *, api_key: str, admin_key: str) -> None:
    """Make the project "default" with these two keys, unless it is there already. Running it twice changes nothing."""
    db = _open(settings)
    async with db.admin() as session:
        project_id = await session.scalar(select(Project.id).where(Project.name == DEFAULT_PROJECT).limit(1))
        if project_id is None:
            project_id = new_id("proj_")
            session.add(Project(id=project_id, name=DEFAULT_PROJECT))
            await session.flush()
        for kind, key in (("project", api_key), ("admin", admin_key)):
            await session.execute(
                insert(ApiKey)
                .values(
                    id=new_id("key_"),
                    project_id=project_id if kind == "project" else None,
                    kind=kind,
                    name=DEFAULT_PROJECT,
                    sha256=fingerprint(key),
                    hint=hint(key),
                )
                .on_conflict_do_nothing(index_elements=["sha256"])
            )
    await db.close()


async def create_key(settings: Settings, *, kind: str, name: str, project: str = DEFAULT_PROJECT) -> str:
    """Make a key and return its value, which is stored nowhere.

    A project key belongs to the project called `project`, which is made when it is missing and is the default one;
    another name that does not exist raises `SettingsError`.
    """
    key = new_key(kind)
    db = _open(settings)
    async with db.admin() as session:
        project_id = None
        if kind == "project":
            project_id = await session.scalar(select(Project.id).where(Project.name == project).limit(1))
            if project_id is None:
                if project != DEFAULT_PROJECT:
                    raise SettingsError(f"There is no project called {project!r}.")
                project_id = new_id("proj_")
                session.add(Project(id=project_id, name=project))
                await session.flush()
        session.add(
            ApiKey(
                id=new_id("key_"), project_id=project_id, kind=kind, name=name, sha256=fingerprint(key), hint=hint(key)
            )
        )
    await db.close()
    return key


def _open(settings: Settings) -> Database:
    return Database(create_engine(settings.database_url, pool_size=1), Doorbell(""))
