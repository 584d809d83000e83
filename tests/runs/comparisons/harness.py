"""The comparison harness: validated files, comparisons created through the API, and scripted answers."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, update

from service.database import leases
from service.database.tables import FileReport
from tests.runs.harness import PATIENCE_SECONDS, RunHarness
from tests.runs.scripted import Call, Reply
from tests.wire import Tenant, jsonl
from workers.datasets import report
from workers.runs import advance

MODELS = ["gpt-4o-mini", "gpt-4o"]


def capitals(count: int = 12) -> list[dict[str, Any]]:
    """Questions with answers that differ."""
    return [
        {
            "messages": [
                {"role": "system", "content": "Answer with the name alone."},
                {"role": "user", "content": f"What is the capital of country {number}?"},
                {"role": "assistant", "content": f"City {number}", "weight": 1},
            ]
        }
        for number in range(count)
    ]


@dataclass(frozen=True)
class Place:
    """What a call is for, read off its key: `line.turn/model`, and of a verdict `/judge/order`."""

    line: int
    model: int
    judge: str | None
    order: str | None

    @classmethod
    def of(cls, call: Call) -> "Place":
        """The place of a call."""
        case, model, *verdict = call.key.split("/")
        judge, order = verdict or (None, None)
        return cls(int(case.partition(".")[0]), int(model), judge, order)


def answering(right: Mapping[int, Callable[[int], bool]], verdict: str = "tie") -> Callable[[Call], Reply]:
    """A script: each model says the right city on the lines that it knows, and another one elsewhere; a judge prefers
    the answer that says so in `verdict`: `first`, `second`, `tie`, or `right` for the one that is right."""

    def script(call: Call) -> Reply:
        place = Place.of(call)
        if place.judge is None:
            known = right[place.model](place.line)
            return Reply(text=f"City {place.line - 1 if known else 900 + place.line}", usage=(30, 5))
        reported = verdict
        if verdict == "right":
            first = call.asked.split("-first>\n")[1].split("\n")[0]
            reported = "first" if first == f"City {place.line - 1}" else "second"
        return Reply(text=json.dumps({"reason": "It is so.", "better": reported}), usage=(200, 12))

    return script


@dataclass(frozen=True)
class ComparisonHarness:
    """A project whose comparisons are stepped by hand."""

    harness: RunHarness

    async def file(self, rows: list[Any] | None = None, *, tenant: Tenant | None = None) -> str:
        """A file that is checked: its id."""
        async with self.harness.http(tenant) as http:
            answer = await http.post(
                "/files",
                data={"purpose": "fine-tune"},
                files={"file": ("held-out.jsonl", jsonl(capitals() if rows is None else rows))},
            )
            file_id: str = answer.json()["id"]
        await self.check_files()
        return file_id

    async def check_files(self) -> None:
        """Make every report that is asked for."""
        ctx, mine = self.harness.ctx, FileReport.project_id == self.harness.project_id
        async with ctx.db.worker() as session:
            await session.execute(
                update(FileReport).where(mine, FileReport.due_at.is_not(None)).values(due_at=func.now())
            )
            claimed = await leases.claim(session, FileReport, lease_seconds=PATIENCE_SECONDS, limit=20, where=[mine])
        for each in claimed:
            await report.validate(ctx, each)

    async def compare(self, file_id: str, **body: Any) -> dict[str, Any]:
        """A comparison as the API accepts it."""
        wanted = {"models": MODELS, "file": file_id, "graders": [{"type": "exact"}], **body}
        async with self.harness.http() as http:
            answer = await http.post("/model_comparisons", json=wanted)
            if answer.status_code == 409 and "report_pending" in answer.text:
                await self.check_files()
                answer = await http.post("/model_comparisons", json=wanted)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def ended(self, comparison_id: str) -> dict[str, Any]:
        """The comparison, worked on until it has ended."""
        while (await self.harness.row(comparison_id)).finished_at is None:
            await self.turn(comparison_id)
        return await self.shown(comparison_id)

    async def turn(self, comparison_id: str) -> None:
        """One turn of a worker."""
        claimed = await self.harness.claim(comparison_id)
        if claimed is not None:
            await advance.advance(self.harness.ctx, claimed)

    async def shown(self, comparison_id: str) -> dict[str, Any]:
        """The comparison as the API shows it."""
        async with self.harness.http() as http:
            answer = await http.get(f"/model_comparisons/{comparison_id}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def cases(self, comparison_id: str, **query: Any) -> list[dict[str, Any]]:
        """All its cases, page by page."""
        found: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        async with self.harness.http() as http:
            while True:
                answer = await http.get(
                    f"/model_comparisons/{comparison_id}/cases", params={"limit": 5, **query, **after}
                )
                assert answer.status_code == 200, answer.text
                page = answer.json()
                found += page["data"]
                if not page["has_more"]:
                    return found
                after = {"after": page["last_id"]}
