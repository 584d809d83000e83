"""Keys that are made without the API: by an operator, and by the development stack at its first start."""

import httpx2
import pytest
from sqlalchemy import select

from service.database.engine import Database, create_engine
from service.database.tables import ApiKey, AuditLog, Project
from service.errors import SettingsError
from service.identity.bootstrap import create_key, ensure_default_project, new_admin_key, new_project_key
from service.identity.keys import fingerprint
from service.ids import new_id
from service.settings import Settings
from service.wakeups import Wakeups
from tests.cli.test_main import tunegate
from tests.identity.fixtures import Processes


async def test_the_first_start_prints_its_keys_once(settings: Settings) -> None:
    keys = {"api_key": new_project_key(), "admin_key": new_admin_key()}
    for _ in range(2):
        await ensure_default_project(settings, **keys)
    db = Database(create_engine(settings.database_url, pool_size=1), Wakeups(""))
    async with db.admin() as session:
        entries = (await session.scalars(select(AuditLog).order_by(AuditLog.id))).all()
    await db.close()
    assert [entry.type for entry in entries] == ["project.created", "api_key.created", "api_key.created"]
    assert {(entry.actor, entry.key_id, entry.ip_address) for entry in entries} == {("system", None, None)}


async def test_a_project_is_named_or_given_by_its_id(settings: Settings) -> None:
    db = Database(create_engine(settings.database_url, pool_size=1), Wakeups(""))
    ids = [new_id("proj_") for _ in range(3)]
    async with db.admin() as session:
        session.add_all([Project(id=each, name="twin") for each in ids[:2]])
        session.add(Project(id=ids[2], name="old", status="archived"))
    key = await create_key(settings, kind="project", name="x", project=ids[1])
    async with db.admin() as session:
        owner = await session.scalar(select(ApiKey.project_id).where(ApiKey.sha256 == fingerprint(key)))
    await db.close()
    assert owner == ids[1]
    for name, complaint in (("twin", ids[0]), ("old", "no active project"), (ids[2], "no active project")):
        with pytest.raises(SettingsError, match=complaint):
            await create_key(settings, kind="project", name="x", project=name)


@pytest.mark.parametrize(("kind", "path"), [("admin", "/organization/projects"), ("project", "/files")])
def test_a_read_only_key_of_the_command_line(processes: Processes, kind: str, path: str) -> None:
    made = tunegate(
        "keys", kind, "auditor", "--read-only", environment={"DATABASE_URL": processes.settings.database_url}
    )
    assert made.returncode == 0, made.stderr
    headers = {"authorization": f"Bearer {made.stdout.strip()}"}
    with httpx2.Client(base_url=processes.base_urls[1], headers=headers, timeout=90) as http:
        assert http.get(path).status_code == 200
        refused = http.post(path, json={"name": "x"})
    assert refused.status_code == 403
