"""The experiment harness: experiments created through the API, and stepped by hand as a worker does.

The jobs of the arms end by hand too (`end_job`): what trains them is the subject of other tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from sqlalchemy import func, select, update

from service.billing import actions as billing
from service.database import leases
from service.database.tables import Experiment, File, Job, JobMetric, LedgerEntry, Model, WebhookEvent
from service.ids import new_id
from service.jobs.record import NewEvent, add_events
from service.upstreams.accounts import DEFAULT_ACCOUNT
from tests.runs.comparisons.harness import ComparisonHarness, capitals
from tests.runs.harness import RunHarness
from tests.wire import Tenant
from workers.experiments import advance

BASE = "gpt-4o-mini-2024-07-18"
PATH = "/fine_tuning/experiments"
MAX_STEPS = 200


@dataclass(frozen=True)
class ExperimentHarness:
    """A project whose experiments are stepped by hand."""

    harness: RunHarness

    @property
    def comparisons(self) -> ComparisonHarness:
        """The same project, for its files and comparisons."""
        return ComparisonHarness(self.harness)

    async def file(self, count: int = 40) -> str:
        """A file of examples that is checked: its id."""
        return await self.comparisons.file(capitals(count))

    async def post(self, path: str = PATH, *, tenant: Tenant | None = None, **body: Any) -> httpx2.Response:
        """An answer to a create or a quote, after the reports that it needs are made."""
        async with self.harness.http(tenant) as http:
            answer = await http.post(path, json=body)
            while answer.status_code == 409 and "report_pending" in answer.text:
                await self.comparisons.check_files()
                answer = await http.post(path, json=body)
        return answer

    async def create(self, **body: Any) -> dict[str, Any]:
        """An experiment as the API accepts it; by default over two numbers of epochs."""
        body = {"model": BASE, "training_file": body.pop("training_file", None) or await self.file(), **body}
        if "arms" not in body and "grid" not in body:
            body["grid"] = {"n_epochs": [2, 3]}
        answer = await self.post(**body)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def shown(self, experiment_id: str) -> dict[str, Any]:
        """The experiment as the API shows it."""
        async with self.harness.http() as http:
            answer = await http.get(f"{PATH}/{experiment_id}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def cancel(self, experiment_id: str) -> httpx2.Response:
        """The answer to a cancel."""
        async with self.harness.http() as http:
            return await http.post(f"{PATH}/{experiment_id}/cancel")

    async def row(self, experiment_id: str) -> Experiment:
        """The row now."""
        async with self.harness.ctx.db.worker() as session:
            return await session.get_one(Experiment, experiment_id)

    async def claim(self, experiment_id: str) -> leases.Claim[Experiment] | None:
        """Claim it as if its time had come; None while another has it, or when it has ended."""
        mine = Experiment.id == experiment_id
        async with self.harness.ctx.db.worker() as session:
            await session.execute(
                update(Experiment).where(mine, Experiment.finished_at.is_(None)).values(due_at=func.now())
            )
            claimed = await leases.claim(session, Experiment, lease_seconds=60.0, where=[mine])
        return claimed[0] if claimed else None

    async def step(self, experiment_id: str) -> dict[str, Any]:
        """One step, as a worker performs it."""
        claimed = await self.claim(experiment_id)
        if claimed is not None:
            await advance.advance(self.harness.ctx, claimed)
        return await self.shown(experiment_id)

    async def until_started(self, experiment_id: str, jobs: int) -> list[str]:
        """Steps until so many arms have a job, with the reports that they need; the jobs' ids in the arms' order."""
        for _ in range(MAX_STEPS):
            shown = await self.step(experiment_id)
            found = [arm["job"] for arm in shown["arms"] if arm["job"] is not None]
            if len(found) >= jobs:
                return found
            await self.comparisons.check_files()
        raise AssertionError(f"not so many arms start: {shown}")

    async def until_end(self, experiment_id: str) -> dict[str, Any]:
        """Steps until it has ended, with its comparison."""
        for _ in range(MAX_STEPS):
            shown = await self.step(experiment_id)
            if shown["finished_at"] is not None:
                return shown
            await self.comparisons.check_files()
            if shown["comparison"] is not None and shown["comparison"]["id"] is not None:
                await self.comparisons.ended(shown["comparison"]["id"])
        raise AssertionError(f"it does not end: {shown}")

    async def end_job(
        self, job_id: str, *, state: str = "succeeded", valid_loss: float | None = None, cost_micros: int = 0
    ) -> str | None:
        """End an arm's job as a worker settles it: cost, model, loss. The model's name."""
        model = f"ft:{BASE}:tunegate::{new_id('')}" if state == "succeeded" else None
        async with self.harness.ctx.db.worker() as session:
            await billing.settle(session, subject=job_id, actual_micros=cost_micros, quantity=cost_micros and 1000)
            if model is not None:
                session.add(
                    Model(
                        name=model,
                        project_id=self.harness.project_id,
                        job_id=job_id,
                        kind="model",
                        base_model=BASE,
                        account_id=DEFAULT_ACCOUNT,
                        upstream_name=f"up-{model}",
                    )
                )
            values: dict[str, Any] = {
                "state": state,
                "finished_at": func.now(),
                "due_at": None,
                "cost_micros": cost_micros,
            }
            values |= {"fine_tuned_model": model, "valid_loss": valid_loss, "valid_loss_step": 10}
            values |= {"best_valid_loss": valid_loss, "best_valid_loss_step": 10}
            if state == "failed":
                values |= {"error_code": "upstream_failed", "error_message": "It broke."}
            await session.execute(update(Job).where(Job.id == job_id).values(values))
        return model

    async def train(self, job_id: str, losses: Sequence[float], *, total_steps: int = 100) -> None:
        """Let an arm's job run at the upstream, with these validation losses at its first steps."""
        async with self.harness.ctx.db.worker() as session:
            upstream = {"upstream_job_id": f"up-{job_id}", "create_phase": "created", "account_id": DEFAULT_ACCOUNT}
            await session.execute(update(Job).where(Job.id == job_id).values(state="running", due_at=None, **upstream))
            project_id = self.harness.project_id
            session.add_all(
                JobMetric(job_id=job_id, project_id=project_id, step=step, train_loss=loss, valid_loss=loss)
                for step, loss in enumerate(losses, start=1)
            )
            data = {"step": len(losses), "total_steps": total_steps}
            event = NewEvent(message="Step", type="metrics", data=data)
            await add_events(session, job_id, project_id, [event])

    async def jobs(self) -> Sequence[Job]:
        """The project's jobs, in the order of their creation."""
        async with self.harness.ctx.db.worker() as session:
            query = select(Job).where(Job.project_id == self.harness.project_id).order_by(Job.id)
            return (await session.scalars(query)).all()

    async def reserved_micros(self) -> int:
        """What the project's jobs have reserved and not resolved, by the ledger."""
        async with self.harness.ctx.db.worker() as session:
            query = select(LedgerEntry).where(LedgerEntry.project_id == self.harness.project_id)
            entries = (await session.scalars(query)).all()
        return sum(entry.reserved_micros * (1 if entry.kind == "reserve" else -1) for entry in entries)

    async def files(self) -> list[str]:
        """The names of the project's files."""
        async with self.harness.ctx.db.worker() as session:
            query = select(File.filename).where(File.project_id == self.harness.project_id).order_by(File.id)
            return list(await session.scalars(query))

    async def events(self, experiment_id: str) -> list[str]:
        """The types of the webhook events about it."""
        async with self.harness.ctx.db.worker() as session:
            query = select(WebhookEvent.type).where(WebhookEvent.subject == experiment_id).order_by(WebhookEvent.id)
            return list(await session.scalars(query))
