"""docs/sql.md: its role reads what the page lists and no secret, and its queries find what their sentences say."""

import re
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from cli.embedded import OWNER, SUPERUSER
from tests.docs.blocks import blocks
from tests.docs.references import ROOT
from tests.stack import Servers, run_async

pytestmark = pytest.mark.xdist_group("the role that reads")
"""One process makes the role, which all databases of the server share."""

READER, PASSWORD = "tunegate_reader", "of-the-reader"
SECRET = re.compile(r"sha256|sealed|encrypted|hint|body|response|storage_key")
SECRET_TABLES = {"remembered_requests", "file_reports", "leakage_reports", "run_calls", "comparison_cases", "quotes"}
"""Tables with stored responses, excerpts of datasets, or questions and answers."""

ROWS = """
    INSERT INTO projects (id, name) VALUES ('proj_a', 'rivers'), ('proj_b', 'lakes');
    INSERT INTO balances (project_id, month)
        SELECT id, month FROM projects, unnest(ARRAY[date_trunc('month', now(), 'UTC'), '2020-01-01']::date[]) AS month
        WHERE id <> 'default';
    INSERT INTO ledger_entries (id, project_id, month, subject, kind, line_item, reserved_micros, spent_micros,
                                overage_micros, created_at) VALUES
        ('1', 'proj_a', date_trunc('month', now(), 'UTC'), 's1', 'reserve', 'x', 9000000, 0, 0, now()),
        ('2', 'proj_a', date_trunc('month', now(), 'UTC'), 's1', 'post', 'x', 0, 2000000, 500000, now()),
        ('3', 'proj_b', date_trunc('month', now(), 'UTC'), 's2', 'post', 'x', 0, 4000000, 0, now()),
        ('4', 'proj_b', '2020-01-01', 's3', 'post', 'x', 0, 7000000, 0, now() - interval '8 days');
    INSERT INTO files (id, project_id, filename, purpose, size_bytes, sha256, storage_key, status, deleted_at) VALUES
        ('f1', 'proj_a', 'a.jsonl', 'fine-tune', 3000000, 'x', 'a', 'processed', NULL),
        ('f2', 'proj_a', 'a.jsonl', 'fine-tune', 1000000, 'x', 'b', 'processed', now()),
        ('f3', 'proj_b', 'b.jsonl', 'fine-tune', 500000, 'x', 'c', 'processed', NULL);
    INSERT INTO jobs (id, project_id, state, model, training_file_id, seed, method, best_valid_loss, fine_tuned_model,
                      trained_tokens, cost_micros, finished_at)
        SELECT id, 'proj_a', 'succeeded', 'm', 'f1', 1, '{}', loss, 'ft:' || id, 1, 2000000, now()
        FROM (VALUES ('j1', 0.5), ('j2', 0.2), ('j3', NULL)) AS made (id, loss);
    INSERT INTO jobs (id, project_id, state, model, training_file_id, seed, method, waiting_reason, created_at)
        SELECT id, 'proj_b', 'waiting', 'm', 'f3', 1, '{}', 'The account is full.', now() - age
        FROM (VALUES ('j4', interval '0'), ('j5', interval '1 day')) AS made (id, age);
    INSERT INTO webhook_endpoints (id, project_id, name, url, event_types, secret_encrypted, secret_hint)
        VALUES ('e1', 'proj_a', 'n', 'https://a.example/', '{file.processed}', '', '');
    INSERT INTO webhook_events (id, project_id, type, subject, body)
        VALUES ('v1', 'proj_a', 'file.processed', 'f1', ''), ('v2', 'proj_a', 'file.processed', 'f2', '');
    INSERT INTO webhook_deliveries (id, project_id, endpoint_id, event_id, status, attempts)
        VALUES ('d1', 'proj_a', 'e1', 'v1', 'failed', 2), ('d2', 'proj_a', 'e1', 'v2', 'succeeded', 1);
    INSERT INTO webhook_attempts (delivery_id, attempt, project_id, started_at, latency_ms, status_code, error)
        VALUES ('d1', 1, 'proj_a', now(), 1, NULL, 'no answer'), ('d1', 2, 'proj_a', now(), 1, 503, NULL);
"""

FOUND: list[list[dict[str, Any]]] = [
    [{"name": "lakes", "dollars": 4}, {"name": "rivers", "dollars": 2.5}],
    [{"id": "j2", "project": "rivers"}, {"id": "j1", "project": "rivers"}],
    [{"id": "j5", "waiting_reason": "The account is full."}, {"id": "j4", "project": "lakes"}],
    [{"id": "d1", "status_code": 503, "error": None, "url": "https://a.example/"}],
    [{"name": "rivers", "megabytes": 3, "files": 1}, {"name": "lakes", "megabytes": 0.5}],
]
"""What the page's queries find, in their order."""

NAMES = ["spend", "best-runs", "waiting-jobs", "failed-deliveries", "storage"]

STATEMENTS = [block.content.replace("…", PASSWORD) for block in blocks("docs/sql.md")]
ROLE, SCOPE, *QUERIES = STATEMENTS


@pytest.fixture(scope="module")
def reader(servers: Servers) -> Iterator[str]:
    """The URL of the documented login, in a database with rows of two projects."""
    with servers.fresh_database() as name:
        superuser = servers.postgres.url(SUPERUSER, name)
        run_async(_run(superuser, ROWS))
        run_async(_run(servers.postgres.url(OWNER, name), ROLE))
        try:
            yield f"postgresql://{READER}:{PASSWORD}@{superuser.rpartition('@')[2]}"
        finally:
            run_async(_run(superuser, f"DROP OWNED BY {READER}; DROP ROLE {READER}"))


async def _run(url: str, *statements: str) -> list[Any]:
    """The rows of the last statement."""
    connection: Any = await asyncpg.connect(url)  # type: ignore[no-untyped-call]
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        if len(statements) == 1:
            await connection.execute(statements[0])
            return []
        found: list[Any] = await connection.fetch(statements[-1])
        return found
    finally:
        await connection.close()


@pytest.mark.parametrize(("query", "expected"), list(zip(QUERIES, FOUND, strict=True)), ids=NAMES)
async def test_a_query_finds_what_its_sentence_says(reader: str, query: str, expected: list[dict[str, Any]]) -> None:
    found = [dict(row) for row in await _run(reader, SCOPE, query)]
    assert [{name: row[name] for name in wanted} for row, wanted in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize("query", QUERIES, ids=NAMES)
async def test_nothing_is_found_without_a_scope(reader: str, query: str) -> None:
    assert await _run(reader, "SELECT 1", query) == []


async def test_a_url_may_name_the_scope(reader: str) -> None:
    (option,) = re.findall(r"`(\?options=\S+)`", (ROOT / "docs/sql.md").read_text(encoding="utf-8"))
    assert len(await _run(reader + option, "SELECT 1", "SELECT id FROM jobs")) == 5


async def test_no_secret_is_readable_and_nothing_writable(reader: str) -> None:
    columns = await _run(
        reader,
        "SELECT 1",
        """
        SELECT relname AS table, attname AS column, has_column_privilege(oid, attname, 'SELECT') AS reads,
               has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS writes
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
        """,
    )
    read = {(row["table"], row["column"]) for row in columns if row["reads"]}
    assert [row["table"] for row in columns if row["writes"]] == []
    assert {each for each in read if SECRET.search(each[1])} == set()
    assert {table for table, _ in read} & SECRET_TABLES == set()


async def test_a_secret_is_refused(reader: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await _run(reader, SCOPE, "SELECT sha256 FROM api_keys")
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await _run(reader, SCOPE, "CREATE TEMPORARY TABLE copy AS SELECT 1")
