"""`tunegate audit`: clean books are proved, and every kind of tampering is found, while the service goes on."""

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from service.billing import actions as billing
from service.billing import limits
from service.billing.audit import CHECKS, Proof, ledger_snapshot, prove
from service.database.engine import Database, create_engine
from service.database.tables import OpenInference, Project
from service.wakeups import Wakeups
from tests.stack import ROOT

MONTH = dt.date(2026, 11, 1)


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Database]:
    """Two projects that have spent, with one reservation open, and the organisation's balances kept."""
    db = Database(create_engine(database_url, pool_size=2), Wakeups(""))
    async with db.admin() as session:
        session.add_all([Project(id=name, name=name, spend_limit_micros=1_000) for name in ("proj_a", "proj_b")])
    async with db.admin() as session:
        await limits.start_organization_balances(session)
    for project in ("proj_a", "proj_b"):
        for number, actual in enumerate((0, 50, 2_000)):
            subject = f"{project}-{number}"
            async with db.project(project) as session:
                assert await billing.reserve(
                    session, project_id=project, subject=subject, line_item="x", amount_micros=100, month=MONTH
                )
                await billing.settle(session, subject=subject, actual_micros=actual, quantity=None)
        async with db.admin() as session:
            await session.execute(text("UPDATE projects SET spend_limit_micros = NULL"))
    async with db.project("proj_a") as session:
        assert await billing.reserve(
            session, project_id="proj_a", subject="call-open", line_item="x", amount_micros=7, month=MONTH
        )
        session.add(
            OpenInference(
                subject="call-open",
                project_id="proj_a",
                input_tokens=1,
                output_tokens=1,
                expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
            )
        )
    yield db
    await db.close()


async def proof_of(database_url: str) -> Proof:
    """The proof as of now."""
    async with ledger_snapshot(database_url) as session:
        return await prove(session)


async def tamper(owner_url: str, *statements: str) -> None:
    """Change rows as the owner can and the service cannot."""
    engine = create_engine(owner_url, pool_size=1, role=None)
    async with engine.begin() as connection:
        await connection.execute(text("SELECT set_config('tunegate.scope', 'worker', true)"))
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


async def test_clean_books_are_proved(books: Database, database_url: str) -> None:
    proof = await proof_of(database_url)
    assert [finding for finding in proof.findings if finding.drifts] == []
    assert (proof.consistent, proof.projects, proof.entries, proof.reserved_micros) == (True, 2, 13, 7)
    assert proof.spent_micros + proof.overage_micros == 2 * 2_050


@pytest.mark.parametrize(
    ("found", "statement"),
    [
        ("balances", "UPDATE balances SET spent_micros = spent_micros + 1 WHERE project_id = 'proj_b'"),
        ("balances", "UPDATE ledger_entries SET spent_micros = 51 WHERE subject = 'proj_a-1' AND kind = 'post'"),
        ("balances", "INSERT INTO balances VALUES ('proj_b', '2026-12-01', 0, 5, 0)"),
        ("organization", "UPDATE organization_balances SET overage_micros = 0"),
        ("organization", "DELETE FROM organization_balances"),
        ("resolutions", "UPDATE ledger_entries SET reserved_micros = 99 WHERE subject = 'proj_a-1' AND kind = 'post'"),
        ("resolutions", "DELETE FROM ledger_entries WHERE subject = 'proj_a-1' AND kind = 'reserve'"),
        ("open", "DELETE FROM open_inferences"),
        ("open", "DELETE FROM ledger_entries WHERE subject = 'proj_b-0' AND kind = 'void'"),
        ("overdue", "UPDATE open_inferences SET expires_at = now() - interval '1 hour'"),
    ],
)
async def test_tampering_is_found(
    books: Database, database_url: str, owner_url: str, found: str, statement: str
) -> None:
    await tamper(owner_url, statement)
    proof = await proof_of(database_url)
    assert not proof.consistent
    assert found in [finding.check for finding in proof.findings if finding.drifts]
    assert all(finding.places for finding in proof.findings if finding.drifts)


async def test_a_subject_that_was_resolved_twice_is_found(books: Database, database_url: str, owner_url: str) -> None:
    await tamper(
        owner_url,
        "DROP INDEX uq_ledger_entries_resolve",
        """INSERT INTO ledger_entries (id, project_id, month, subject, kind, line_item, reserved_micros)
           SELECT 'entry-second', project_id, month, subject, kind, line_item, reserved_micros
           FROM ledger_entries WHERE subject = 'proj_a-0' AND kind = 'void'""",
    )
    proof = await proof_of(database_url)
    assert {finding.check for finding in proof.findings if finding.drifts} >= {"once", "balances"}


async def test_the_snapshot_does_not_see_what_is_booked_meanwhile(books: Database, database_url: str) -> None:
    async with ledger_snapshot(database_url) as session:
        before = await prove(session)
        async with books.project("proj_b") as other:
            await billing.reserve(
                other, project_id="proj_b", subject="later", line_item="x", amount_micros=1, month=MONTH
            )
        assert await prove(session) == before


async def test_the_snapshot_writes_nothing(books: Database, database_url: str) -> None:
    with pytest.raises(Exception, match="read-only"):
        async with ledger_snapshot(database_url) as session:
            await session.execute(text("UPDATE balances SET spent_micros = 0"))


class TestCommand:
    def run(self, database_url: str, *options: str) -> subprocess.CompletedProcess[str]:
        """The command as an operator gives it."""
        environ = {**os.environ, "DATABASE_URL": database_url}
        command = [sys.executable, "-m", "cli", "audit", *options]
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)

    async def test_says_that_the_books_balance(self, books: Database, database_url: str) -> None:
        done = self.run(database_url)
        assert (done.returncode, done.stderr) == (0, "")
        assert "The books balance" in done.stdout
        for claim, _ in CHECKS.values():
            assert claim[:40] in done.stdout

    async def test_says_where_they_do_not_and_exits_with_1(
        self, books: Database, database_url: str, owner_url: str
    ) -> None:
        await tamper(owner_url, "UPDATE balances SET spent_micros = 1 WHERE project_id = 'proj_b'")
        done = self.run(database_url, "--json")
        assert done.returncode == 1
        proof: dict[str, Any] = json.loads(done.stdout)
        assert proof["holds"] is False
        [balances] = [finding for finding in proof["findings"] if finding["check"] == "balances"]
        assert (balances["drifts"], "proj_b 2026-11" in balances["places"][0]) == (1, True)
        assert "do not balance" in self.run(database_url).stdout
