"""Many rows of a project by SQL: jobs, files, models, deliveries, ledger entries, events.

One job in ten is due, the others have succeeded; each job has a pair of metadata of its own and one that it shares with
a tenth; every delivery is due; every second ledger entry resolves the one before it. Triggers and foreign keys do not
run while seeding: the statements write what they would.
"""

import asyncpg

PROJECT, NEIGHBOUR = "proj_growth", "proj_a_neighbour"
ENDPOINT = "wh_growth"
MODEL = "gpt-4o-mini-2024-07-18"
MAX_POINTS = 50_000
POINTS_JOB = "ftjob-{project}-0000000001"


def job_id(project: str, number: int) -> str:
    """The id of a seeded job, in the order of creation. The same for files and models with another prefix."""
    return f"ftjob-{project}-{number:010d}"


def file_id(project: str, number: int) -> str:
    """The id of a seeded file."""
    return f"file-{project}-{number:010d}"


def model_name(project: str, number: int) -> str:
    """The name of a seeded tuned model."""
    return f"ft:{MODEL}:org::{project}-{number:010d}"


PREPARE = f"""
    INSERT INTO projects (id, name, max_queued_jobs) VALUES ('{{project}}', '{{project}}', NULL);
    INSERT INTO upstream_accounts (id, kind, base_url) VALUES ('account-growth', 'openai', 'http://127.0.0.1:1/v1')
    ON CONFLICT DO NOTHING;
    INSERT INTO webhook_endpoints (id, project_id, name, url, event_types, secret_encrypted, secret_hint)
    VALUES ('{ENDPOINT}-{{project}}', '{{project}}', 'n', 'https://a.example/', '{{{{file.processed}}}}', '', '');
    INSERT INTO balances (project_id, month) VALUES ('{{project}}', date_trunc('month', now())::date);
"""

SEEDS = (
    """
    INSERT INTO files (id, project_id, filename, purpose, size_bytes, sha256, storage_key, status)
    SELECT 'file-{project}-' || lpad(n::text, 10, '0'), '{project}', 'data.jsonl', 'fine-tune', 1000, md5(n::text),
           '{project}/' || n, 'processed'
    FROM generate_series({first}, {last}) n
    """,
    """
    INSERT INTO jobs (id, project_id, state, model, training_file_id, seed, method, metadata, created_at, due_at,
                      finished_at, fine_tuned_model, trained_tokens, cost_micros, account_id, upstream_job_id,
                      create_phase)
    SELECT 'ftjob-{project}-' || lpad(n::text, 10, '0'), '{project}',
           CASE WHEN n % 10 = 0 THEN 'settling' ELSE 'succeeded' END, '{model}',
           'file-{project}-' || lpad(n::text, 10, '0'), 1,
           '{{"type": "supervised", "supervised": {{"hyperparameters": {{}}}}}}',
           jsonb_build_object('team', 't' || n % 10, 'run', n::text), now() - interval '1 day',
           CASE WHEN n % 10 = 0 THEN now() - interval '1 hour' END,
           CASE WHEN n % 10 = 0 THEN NULL ELSE now() END,
           CASE WHEN n % 10 = 0 THEN NULL ELSE 'ft:{model}:org::{project}-' || lpad(n::text, 10, '0') END,
           1000, 3000, 'account-growth', 'up-{project}-' || n, 'created'
    FROM generate_series({first}, {last}) n
    """,
    """
    INSERT INTO job_metadata_pairs (project_id, pair, job_id)
    SELECT project_id, tunegate_metadata_pairs(metadata), id FROM jobs
    WHERE id BETWEEN 'ftjob-{project}-' || lpad('{first}', 10, '0') AND 'ftjob-{project}-' || lpad('{last}', 10, '0')
    """,
    """
    INSERT INTO models (name, project_id, job_id, kind, base_model, account_id, upstream_name)
    SELECT 'ft:{model}:org::{project}-' || lpad(n::text, 10, '0'), '{project}',
           'ftjob-{project}-' || lpad(n::text, 10, '0'), 'model', '{model}', 'account-growth', 'up-' || n
    FROM generate_series({first}, {last}) n
    """,
    """
    INSERT INTO webhook_events (id, project_id, type, subject, body)
    SELECT 'evt-{project}-' || lpad(n::text, 10, '0'), '{project}', 'file.processed', 's', '{{}}'
    FROM generate_series({first}, {last}) n
    """,
    """
    INSERT INTO webhook_deliveries (id, project_id, endpoint_id, event_id, due_at)
    SELECT 'whd-{project}-' || lpad(n::text, 10, '0'), '{project}', 'wh_growth-{project}',
           'evt-{project}-' || lpad(n::text, 10, '0'), now() - interval '1 hour'
    FROM generate_series({first}, {last}) n
    """,
    """
    INSERT INTO ledger_entries (id, project_id, month, subject, kind, line_item, model, reserved_micros, spent_micros,
                                quantity, created_at, input_tokens, output_tokens, basis)
    SELECT 'entry-{project}-' || lpad(n::text, 10, '0'), '{project}', date_trunc('month', now())::date,
           'call-{project}-' || (n - 1) / 2, CASE WHEN n % 2 = 1 THEN 'reserve' ELSE 'post' END, 'inference', '{model}',
           5, CASE WHEN n % 2 = 1 THEN 0 ELSE 3 END, 30, now() - (n % 2592000) * interval '1 second',
           CASE WHEN n % 2 = 1 THEN NULL ELSE 20 END, CASE WHEN n % 2 = 1 THEN NULL ELSE 10 END,
           CASE WHEN n % 2 = 1 THEN NULL ELSE 'usage' END
    FROM generate_series({first}, {last}) n
    """,
    """
    UPDATE balances SET spent_micros = {last} / 2 * 3 WHERE project_id = '{project}'
    """,
    """
    INSERT INTO job_events (id, project_id, job_id, sequence, level, type, message, data)
    SELECT 'ftevent-{project}-' || n, '{project}', 'ftjob-{project}-0000000001', n, 'info', 'metrics', 'Step ' || n,
           jsonb_build_object('step', n, 'train_loss', 0.5)
    FROM generate_series({first}, least({last}, {max_points})) n
    """,
    """
    INSERT INTO job_metrics (job_id, project_id, step, train_loss, train_mean_token_accuracy)
    SELECT 'ftjob-{project}-0000000001', '{project}', n, 0.5, 0.9
    FROM generate_series({first}, least({last}, {max_points})) n
    """,
)


async def prepare(connection: asyncpg.Connection, project: str) -> None:
    """Add a project without rows."""
    await connection.execute(PREPARE.format(project=project))


async def seed(connection: asyncpg.Connection, project: str, *, first: int, last: int) -> None:
    """Add the rows numbered from `first` to `last` to a project. With an even `last` every reservation is resolved."""
    await connection.execute("SET session_replication_role = replica")
    for statement in SEEDS:
        await connection.execute(
            statement.format(project=project, first=first, last=last, model=MODEL, max_points=MAX_POINTS)
        )
    await connection.execute("RESET session_replication_role")
