"""`/v1/model_aliases`: names that are promoted and rolled back, by many at once, with a history that has no gap."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, text

from service.database.tables import AliasPromotion, AuditLog, ModelAlias, WebhookEvent
from service.ids import new_id
from service.models.aliases import actions, queries
from service.models.aliases.actions import MAX_ALIASES
from tests.http.fixtures import Api
from tests.models.conftest import BASE
from tests.wire import refusal

Tuned = Callable[..., Awaitable[list[str]]]


async def made(http: httpx2.AsyncClient, model: str, name: str = "support-bot", **more: Any) -> dict[str, Any]:
    """A new alias."""
    answer = await http.post("/model_aliases", json={"name": name, "model": model, **more})
    assert answer.status_code == 200, answer.text
    alias: dict[str, Any] = answer.json()
    return alias


async def promoted(http: httpx2.AsyncClient, model: str, name: str = "support-bot", **more: Any) -> dict[str, Any]:
    """The alias, pointed elsewhere."""
    answer = await http.post(f"/model_aliases/{name}/promote", json={"model": model, **more})
    assert answer.status_code == 200, answer.text
    alias: dict[str, Any] = answer.json()
    return alias


async def rolled_back(http: httpx2.AsyncClient, name: str = "support-bot", **body: Any) -> dict[str, Any]:
    """The alias, a step back."""
    answer = await http.post(f"/model_aliases/{name}/rollback", json=body)
    assert answer.status_code == 200, answer.text
    alias: dict[str, Any] = answer.json()
    return alias


async def history(http: httpx2.AsyncClient, name: str = "support-bot") -> list[dict[str, Any]]:
    """Every line, oldest first."""
    answer = await http.get(f"/model_aliases/{name}/history", params={"limit": 100})
    lines: list[dict[str, Any]] = answer.json()["data"]
    return lines[::-1]


class TestCreate:
    async def test_is_shown_by_name_and_by_id_and_listed(self, api: Api, tuned: Tuned) -> None:
        (model,) = await tuned(1)
        async with api.http() as http:
            alias = await made(http, model, reason="The first one")
            assert alias["id"].startswith("alias_")
            assert (alias["object"], alias["name"], alias["model"], alias["version"]) == (
                "model_alias",
                "support-bot",
                model,
                1,
            )
            for key in (alias["name"], alias["id"]):
                assert (await http.get(f"/model_aliases/{key}")).json() == alias
            other = await made(http, BASE, "other")
            page = (await http.get("/model_aliases", params={"limit": 1})).json()
            assert ([each["id"] for each in page["data"]], page["has_more"]) == ([other["id"]], True)
            rest = (await http.get("/model_aliases", params={"after": page["last_id"]})).json()
            assert [each["id"] for each in rest["data"]] == [alias["id"]]

    @pytest.mark.parametrize("name", ["a", "a.b-c", "0", "x" * 64, "gpt-5-for-us"])
    async def test_takes_such_names(self, api: Api, name: str) -> None:
        async with api.http() as http:
            assert (await made(http, BASE, name))["name"] == name

    @pytest.mark.parametrize(
        "name", ["", "A", "-a", "a-", ".a", "a_b", "alias_1", "ft:a", "a b", "a/b", "ä", "x" * 65, "a\n"]
    )
    async def test_refuses_such_names(self, api: Api, name: str) -> None:
        async with api.http() as http:
            answer = await http.post("/model_aliases", json={"name": name, "model": BASE})
        assert (answer.status_code, refusal(answer)["param"]) == (400, "name")

    async def test_a_base_model_s_name_a_taken_one_and_models_that_are_none(self, api: Api, tuned: Tuned) -> None:
        async with api.http(api.other) as theirs:
            await made(theirs, BASE)
        async with api.http() as http:
            await made(http, BASE)
            for body, status, code, param in (
                ({"name": "gpt-4o-mini", "model": BASE}, 400, "model_alias_name_taken", "name"),
                ({"name": "support-bot", "model": BASE}, 409, "model_alias_name_taken", "name"),
                ({"name": "x", "model": "ft:nobody"}, 400, "model_not_found", "model"),
                ({"name": "x", "model": "support-bot"}, 400, "model_not_found", "model"),
                ({"name": "x", "model": BASE, "reason": "r" * 513}, 400, "invalid_value", "reason"),
            ):
                answer = await http.post("/model_aliases", json=body)
                assert answer.status_code == status, body
                assert (refusal(answer)["code"], refusal(answer)["param"]) == (code, param)
            taken = await http.post("/model_aliases", json={"name": "support-bot", "model": BASE})
            assert taken.headers["x-should-retry"] == "false"

    async def test_a_project_has_at_most_so_many_also_with_racers(self, api: Api) -> None:
        async with api.rows() as session:
            session.add_all(
                ModelAlias(id=new_id("alias_"), project_id=api.one.project_id, name=f"n{number}", model=BASE, version=1)
                for number in range(MAX_ALIASES - 2)
            )
        async with api.http() as http:
            bodies = [{"name": f"racer-{number}", "model": BASE} for number in range(6)]
            answers = await asyncio.gather(*(http.post("/model_aliases", json=body) for body in bodies))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 400, 400, 400, 400]
        assert {refusal(each)["code"] for each in answers if each.status_code == 400} == {"too_many_model_aliases"}

    async def test_once_for_one_idempotency_key(self, api: Api) -> None:
        async with api.http() as http:
            http.headers["idempotency-key"] = "one"
            first, second = await made(http, BASE), await made(http, BASE)
        assert first == second


class TestPromote:
    async def test_moves_it_and_writes_who_and_why(self, api: Api, tuned: Tuned) -> None:
        first, second = await tuned(2)
        async with api.http() as http:
            alias = await made(http, first, reason="begin")
            moved = await promoted(http, second, alias["id"], reason="better")
            assert (moved["id"], moved["model"], moved["version"]) == (alias["id"], second, 2)
            lines = await history(http)
        assert [(line["version"], line["model"], line["action"], line["reason"]) for line in lines] == [
            (1, first, "created", "begin"),
            (2, second, "promoted", "better"),
        ]
        assert {line["by"]["type"] for line in lines} == {"api_key"}
        assert lines[0]["by"]["id"].startswith("key_")
        assert set(lines[0]) == {"id", "object", "version", "model", "action", "reason", "by", "created_at"}

    async def test_to_where_it_points_already_changes_nothing(self, api: Api) -> None:
        async with api.http() as http:
            alias = await made(http, BASE)
            assert await promoted(http, BASE) == alias
            assert len(await history(http)) == 1

    async def test_only_from_the_expected_model(self, api: Api, tuned: Tuned) -> None:
        first, second = await tuned(2)
        async with api.http() as http:
            await made(http, first)
            answer = await http.post(
                "/model_aliases/support-bot/promote", json={"model": second, "expected_model": second}
            )
            assert (answer.status_code, refusal(answer)["code"]) == (409, "model_alias_moved")
            assert answer.headers["x-should-retry"] == "false"
            assert (await promoted(http, second, expected_model=first))["model"] == second

    async def test_to_a_model_of_nobody_here(self, api: Api, tuned: Tuned) -> None:
        (model,) = await tuned(1)
        async with api.http(api.other) as http:
            await made(http, BASE)
            answer = await http.post("/model_aliases/support-bot/promote", json={"model": model})
            assert (answer.status_code, refusal(answer)["code"]) == (400, "model_not_found")

    async def test_racers_take_turns_and_leave_no_gap(self, api: Api, tuned: Tuned) -> None:
        models = await tuned(20)
        async with api.http() as http:
            await made(http, BASE)
            await asyncio.gather(*(promoted(http, model) for model in models))
            lines = await history(http)
            now = (await http.get("/model_aliases/support-bot")).json()
        assert [line["version"] for line in lines] == list(range(1, 22))
        assert {line["model"] for line in lines} == {BASE, *models}
        assert (now["version"], now["model"]) == (21, lines[-1]["model"])

    async def test_of_racers_with_one_expectation_one_wins(self, api: Api, tuned: Tuned) -> None:
        models = await tuned(12)
        async with api.http() as http:
            await made(http, BASE)
            answers = await asyncio.gather(
                *(
                    http.post("/model_aliases/support-bot/promote", json={"model": model, "expected_model": BASE})
                    for model in models
                )
            )
            assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11
            (won,) = (answer.json()["model"] for answer in answers if answer.status_code == 200)
            assert [line["model"] for line in await history(http)] == [BASE, won]


class TestRollBack:
    async def test_undoes_the_present_promotion_and_then_the_one_before(self, api: Api, tuned: Tuned) -> None:
        a, b, c = await tuned(3)
        async with api.http() as http:
            await made(http, a)
            await promoted(http, b)
            await promoted(http, c)
            assert (await rolled_back(http, reason="c is worse"))["model"] == b
            assert (await rolled_back(http))["model"] == a
            nothing = await http.post("/model_aliases/support-bot/rollback", json={})
            assert (nothing.status_code, refusal(nothing)["code"]) == (409, "model_alias_has_no_earlier")
            assert (await promoted(http, c))["version"] == 6
            assert (await rolled_back(http))["model"] == a
            lines = await history(http)
        assert [line["action"] for line in lines[3:]] == ["rolled_back", "rolled_back", "promoted", "rolled_back"]
        assert lines[3]["reason"] == "c is worse"

    async def test_to_a_version(self, api: Api, tuned: Tuned) -> None:
        a, b, c = await tuned(3)
        async with api.http() as http:
            for step in (made(http, a), promoted(http, b), promoted(http, c)):
                await step
            assert (await rolled_back(http, version=1, expected_model=c))["model"] == a
            for version in (4, 5, 10**15):
                answer = await http.post("/model_aliases/support-bot/rollback", json={"version": version})
                assert (answer.status_code, refusal(answer)["code"]) == (400, "model_alias_version_not_found")
            moved = await http.post("/model_aliases/support-bot/rollback", json={"expected_model": c})
            assert (moved.status_code, refusal(moved)["code"]) == (409, "model_alias_moved")

    async def test_not_to_a_model_that_is_gone(self, api: Api, tuned: Tuned) -> None:
        a, b = await tuned(2)
        async with api.http() as http:
            await made(http, BASE)
            await promoted(http, a)
            await promoted(http, b)
            assert (await http.delete(f"/models/{a}")).status_code == 200
            answer = await http.post("/model_aliases/support-bot/rollback")
            assert (answer.status_code, refusal(answer)["code"]) == (409, "model_alias_model_gone")
            assert (await rolled_back(http, version=1))["model"] == BASE


class TestHistory:
    async def test_pages(self, api: Api, tuned: Tuned) -> None:
        models = await tuned(4)
        async with api.http() as http:
            alias = await made(http, BASE)
            for model in models:
                await promoted(http, model)
            first = (await http.get("/model_aliases/support-bot/history", params={"limit": 2})).json()
            rest = (
                await http.get("/model_aliases/support-bot/history", params={"limit": 3, "after": first["last_id"]})
            ).json()
            assert [line["version"] for line in first["data"] + rest["data"]] == [5, 4, 3, 2, 1]
            assert (first["has_more"], rest["has_more"]) == (True, False)
            for after in ("x", f"{alias['id']}.v6", f"{alias['id']}.v0", f"{alias['id']}.v02", f"{alias['id']}.v²"):
                answer = await http.get("/model_aliases/support-bot/history", params={"after": after})
                assert (answer.status_code, refusal(answer)["code"]) == (400, "invalid_cursor")

    async def test_is_append_only_in_postgres_too(self, api: Api) -> None:
        async with api.http() as http:
            await made(http, BASE)
        for statement in ("UPDATE alias_promotions SET model = 'x'", "DELETE FROM alias_promotions"):
            with pytest.raises(Exception, match="permission denied"):
                async with api.rows() as session:
                    await session.execute(text(statement))


class TestDelete:
    async def test_takes_the_name_and_the_history_away_and_leaves_the_model(self, api: Api, tuned: Tuned) -> None:
        (model,) = await tuned(1)
        async with api.http() as http:
            alias = await made(http, model)
            answer = await http.delete("/model_aliases/support-bot")
            assert answer.json() == {"id": alias["id"], "object": "model_alias.deleted", "deleted": True}
            assert (await http.get("/model_aliases/support-bot")).status_code == 404
            assert (await http.get(f"/models/{model}")).status_code == 200
            assert (await made(http, BASE))["version"] == 1
        async with api.rows() as session:
            left = await session.scalar(select(func.count()).where(AliasPromotion.alias_id == alias["id"]))
        assert left == 0

    async def test_of_a_model_that_an_alias_stands_for_is_refused(self, api: Api, tuned: Tuned) -> None:
        first, second = await tuned(2)
        async with api.http() as http:
            await made(http, first)
            answer = await http.delete(f"/models/{first}")
            assert (answer.status_code, refusal(answer)["code"]) == (409, "model_in_use")
            assert "support-bot" in refusal(answer)["message"]
            await promoted(http, second)
            assert (await http.delete(f"/models/{first}")).status_code == 200
            alias = await http.delete("/models/support-bot")
            assert (alias.status_code, refusal(alias)["code"]) == (409, "model_not_deletable")

    async def test_a_model_is_never_deleted_under_an_alias(self, api: Api, tuned: Tuned) -> None:
        """Of a promotion and a deletion at once one is refused, whichever comes first."""
        models = await tuned(15)
        async with api.http() as http:
            await made(http, BASE)
            for number, model in enumerate(models):
                calls = [
                    http.post("/model_aliases/support-bot/promote", json={"model": model}),
                    http.post("/model_aliases", json={"name": f"n{number}", "model": model}),
                    http.delete(f"/models/{model}"),
                ]
                one, new, gone = await asyncio.gather(*calls)
                assert sorted({one.status_code, new.status_code} | {gone.status_code}) in ([200, 400], [200, 409])
                assert (gone.status_code == 200) == (one.status_code == new.status_code == 400)


class TestModels:
    async def test_are_listed_and_retrieved_with_the_shutdown_of_what_they_stand_for(
        self, api: Api, tuned: Tuned
    ) -> None:
        (model,) = await tuned(1)
        async with api.http() as http:
            alias = await made(http, model)
            listed = {each["id"]: each for each in (await http.get("/models")).json()["data"]}
            shown = (await http.get("/models/support-bot")).json()
            behind = (await http.get(f"/models/{model}")).json()
        assert listed["support-bot"] == shown
        assert shown == {**behind, "id": "support-bot", "created": alias["created_at"], "parent": model}

    async def test_what_an_alias_stands_for_is_read_at_one_moment(self, api: Api, tuned: Tuned) -> None:
        """Promoted to the next model and the last one deleted, again and again: it stands for one that is there."""
        models, missing, lookups, done = await tuned(12), 0, 0, asyncio.Event()
        async with api.http() as http:
            await made(http, models[0])

            async def move() -> None:
                for last, following in itertools.pairwise(models):
                    seen = lookups
                    await promoted(http, following)
                    assert (await http.delete(f"/models/{last}")).status_code == 200
                    while lookups == seen:
                        await asyncio.sleep(0)
                done.set()

            moving = asyncio.create_task(move())
            while not done.is_set() and not moving.done():
                async with api.rows() as session:
                    found = await queries.find_alias_target(session, api.one.project_id, "support-bot")
                assert found is not None
                lookups, missing = lookups + 1, missing + (found[1] is None)
            await moving
        assert (missing, lookups > 10) == (0, True)


class TestReported:
    async def test_every_change_is_an_event_and_an_entry_of_the_audit_log(self, api: Api, tuned: Tuned) -> None:
        (model,) = await tuned(1)
        async with api.http() as http:
            alias = await made(http, BASE)
            await promoted(http, model, reason="better")
            await rolled_back(http)
            await http.delete("/model_aliases/support-bot")
        async with api.rows() as session:
            query = select(WebhookEvent.body).where(WebhookEvent.type == "model_alias.promoted")
            bodies = [json.loads(body) for body in await session.scalars(query.order_by(WebhookEvent.position))]
        assert [(body["data"]["action"], body["data"]["version"]) for body in bodies] == [
            ("created", 1),
            ("promoted", 2),
            ("rolled_back", 3),
        ]
        assert bodies[1]["data"] == {
            "id": alias["id"],
            "project_id": api.one.project_id,
            "action": "promoted",
            "alias": "support-bot",
            "model": model,
            "previous_model": BASE,
            "version": 2,
            "reason": "better",
            "job_id": None,
        }
        async with api.db.admin() as session:
            entries = (
                await session.scalars(select(AuditLog).where(AuditLog.resource_id == alias["id"]).order_by(AuditLog.id))
            ).all()
        assert [entry.type for entry in entries] == [
            "model_alias.created",
            "model_alias.promoted",
            "model_alias.rolled_back",
            "model_alias.deleted",
        ]
        assert {entry.actor for entry in entries} == {"api_key"}


class TestDeploy:
    """What a job's end does; the whole way is in tests/contract/test_aliases.py."""

    async def deploy(self, api: Api, tuned: Tuned, name: str, model: str | None = None) -> str | None:
        from service.catalogue.models_file import load

        model = model or (await tuned(1))[0]
        async with api.db.worker() as session:
            return await actions.deploy(
                session,
                project_id=api.one.project_id,
                name=name,
                model=model,
                job_id="ftjob-x",
                catalogue=load(),
            )

    async def test_makes_a_missing_alias_and_moves_one_that_is_there(self, api: Api, tuned: Tuned) -> None:
        first, second = await tuned(2)
        for model in (first, second):
            assert await self.deploy(api, tuned, "support-bot", model) is None
        async with api.http() as http:
            lines = await history(http)
            assert [(line["model"], line["action"]) for line in lines] == [(first, "deployed"), (second, "deployed")]
            assert {(line["by"]["type"], line["by"]["id"]) for line in lines} == {("job", "ftjob-x")}
            assert (await rolled_back(http))["model"] == first

    async def test_says_why_it_cannot(self, api: Api, tuned: Tuned) -> None:
        assert "base model" in (await self.deploy(api, tuned, "gpt-4o-mini") or "")
        async with api.rows() as session:
            session.add_all(
                ModelAlias(id=new_id("alias_"), project_id=api.one.project_id, name=f"n{n}", model=BASE, version=1)
                for n in range(MAX_ALIASES)
            )
        assert "at most" in (await self.deploy(api, tuned, "one-more") or "")
        assert await self.deploy(api, tuned, "n7") is None

    async def test_is_refused_early_for_a_name_that_cannot_be(self, api: Api) -> None:
        async with api.http() as http:
            for deploy, param in (
                ({"alias": "gpt-4o"}, "deploy.alias"),
                ({"alias": "Not This"}, "deploy.alias"),
                ({}, "deploy.alias"),
                ({"alias": "x", "when": "now"}, "deploy.when"),
            ):
                body = {"model": BASE, "training_file": "file-none", "deploy": deploy}
                answer = await http.post("/fine_tuning/jobs", json=body)
                assert (answer.status_code, refusal(answer)["param"]) == (400, param)
