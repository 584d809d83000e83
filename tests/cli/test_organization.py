"""The organisation's commands, on a whole stack: costs, limits, webhooks, upstreams, audit-log, projects, keys."""

import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from openai.types.admin.organization import Project, UsageCostsResponse
from openai.types.admin.organization.projects import ProjectAPIKey

from service.ids import new_id
from tests.cli.command_line import CommandLine
from tests.contract.strict import strict_items
from tests.stack import DevStack
from tests.wire import Tenant, eventually, new_tenant

pytestmark = pytest.mark.timeout(400)
MODEL = "gpt-4o-mini"


@pytest.fixture(scope="module")
def tenant(stack: DevStack) -> Tenant:
    """A project that has called a model once."""
    ready = stack.ready()
    made = new_tenant(ready["base_url"], ready["database_url"])
    made.sdk().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "How long is river 3?"}])
    return made


@pytest.fixture(scope="module")
def member(tenant: Tenant) -> CommandLine:
    """The command as the project's member calls it."""
    return CommandLine.of(tenant)


@pytest.fixture(scope="module")
def admin(stack: DevStack) -> CommandLine:
    """The command as an administrator without a project calls it."""
    ready = stack.ready()
    return CommandLine(ready["base_url"], "", ready["admin_key"])


@dataclass(frozen=True)
class Elsewhere:
    """A program that gets webhooks, and serves as an upstream without jobs: the ids and credentials that it got."""

    url: str
    deliveries: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """It answers everything with an empty list."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            started.deliveries.append(self.headers["webhook-id"])
            self.answer()

        def do_GET(self) -> None:
            started.credentials.append(self.headers["authorization"])
            self.answer()

        def answer(self) -> None:
            body = b'{"object": "list", "data": [], "has_more": false}'
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    started = Elsewhere(f"http://127.0.0.1:{server.server_port}/v1")
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield started
    server.shutdown()
    thread.join()
    server.server_close()


class TestCosts:
    def test_of_the_last_days_are_the_api_s_objects(self, member: CommandLine) -> None:
        page = member("costs", "--since", "7d", "--by", "key", "--json").json()
        [bucket] = page["data"]  # a new project has spent on one day, which is today
        [result] = bucket["results"]
        assert result["amount"]["value"] > 0
        assert result["api_key_name"]
        strict_items(UsageCostsResponse, [page])

    @pytest.mark.parametrize("by", ["day", "model", "key", "job", "kind"])
    def test_as_a_table(self, member: CommandLine, by: str) -> None:
        shown = member("costs", "--by", by)
        assert shown.status == 0, shown.err
        expected = {"day": r"\w{3} \d{4}-\d\d-\d\d", "job": "inference", "kind": f"inference {MODEL}", "model": MODEL}
        assert re.search(rf"{expected.get(by, 'name-')}.*(\$0\.\d{{4}}|<\$0\.0001) +100 %", shown.out), shown.out

    def test_of_the_organisation_by_project(self, admin: CommandLine, tenant: Tenant, member: CommandLine) -> None:
        assert tenant.project_id in admin("costs", "--by", "project").out
        mine = member("costs", "--json").json()["data"][0]["results"][0]["amount"]
        named = admin("costs", "--project", tenant.project_id, "--json").json()["data"][0]["results"][0]["amount"]
        assert named == mine
        both = dataclasses.replace(member, admin_key=admin.admin_key)
        assert both("costs", "--json").json()["data"][0]["results"][0]["amount"] == mine
        assert tenant.project_id in both("costs", "--organization", "--by", "project").out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--since", "soon"), "'since'"),
            (("--by", "project"), "--organization"),
            (("--project", "p"), "admin key"),
            (("--project", "p", "--organization"), "not both"),
        ],
    )
    def test_what_cannot_be_shown_is_refused_in_one_line(
        self, member: CommandLine, arguments: tuple[str, ...], message: str
    ) -> None:
        refused = member("costs", *arguments)
        assert (refused.status, refused.out) == (2, "")
        assert message in refused.err
        assert len(refused.err.splitlines()) == 1


class TestProjectsAndKeys:
    def test_from_a_new_project_to_a_revoked_key(self, admin: CommandLine) -> None:
        name = new_id("rivers-")
        project = admin("projects", "create", name, "--json").json()
        strict_items(Project, [project])
        key = admin("keys", "create", "ci", "--project", name, "--expires", "24h").out.strip()
        member = CommandLine(admin.base_url, key)
        own = member("projects", "show", "--json").json()
        assert (own["id"], own["api_key"]["name"]) == (project["id"], "ci")
        assert name in member("projects", "show").out
        reader = admin("keys", "create", "reader", "--project", name, "--read-only", "--json").json()
        assert reader["scopes"] == ["api.all.read"]
        read = CommandLine(admin.base_url, reader["value"])
        assert read("costs").status == 0
        refused = read("webhooks", "create", "x", "https://example.com/")
        assert (refused.status, "read-only" in refused.err) == (2, True)
        listed = admin("keys", "list", "--project", name, "--json").json()["data"]
        assert [each.name for each in strict_items(ProjectAPIKey, listed)] == ["reader", "ci"]
        shown = admin("keys", "list", "--project", name).out
        assert reader["id"] in shown
        assert reader["value"] not in shown
        unconfirmed = admin("keys", "revoke", reader["id"], "--project", name)
        assert (unconfirmed.status, "--yes" in unconfirmed.err) == (2, True)
        assert admin("keys", "revoke", reader["id"], "--project", name, "--yes").out == f"{reader['id']} is revoked.\n"
        eventually(lambda: read("costs").status == 2)
        assert admin("projects", "archive", name, "--yes").status == 0
        assert name not in admin("projects", "list").out
        assert name in admin("projects", "list", "--archived").out

    def test_a_name_that_none_or_several_have(self, admin: CommandLine) -> None:
        name = new_id("twice-")
        ids = [admin("projects", "create", name, "--json").json()["id"] for _ in range(2)]
        for wrong, parts in ((name, ids), (new_id("none-"), ["projects list"])):
            refused = admin("keys", "list", "--project", wrong)
            assert refused.status == 2
            assert all(part in refused.err for part in parts)

    def test_a_length_of_time_that_is_none_makes_no_key(self, admin: CommandLine) -> None:
        name = new_id("lakes-")
        project = admin("projects", "create", name, "--json").json()["id"]
        refused = admin("keys", "create", "x", "--project", project, "--expires", "soon")
        assert (refused.status, "length of time" in refused.err) == (2, True)
        assert admin("keys", "list", "--project", project, "--json").json()["data"] == []


class TestLimits:
    def test_are_set_shown_and_removed(self, admin: CommandLine) -> None:
        name = new_id("limited-")
        admin("projects", "create", name)
        project = ("--project", name)
        done = admin("limits", "set", *project, "--spend", "12.50", "--active-jobs", "4", "--storage-bytes", "5000000")
        assert done.status == 0, done.err
        shown = admin("limits", "show", *project, "--json").json()
        assert (shown["spend_limit"]["value"], shown["max_active_jobs"], shown["max_storage_bytes"]) == (
            12.5,
            4,
            5_000_000,
        )
        member = CommandLine(admin.base_url, admin("keys", "create", "ci", *project).out.strip())
        assert member("limits", "show", "--json").json() == shown
        table = member("limits", "show").out
        assert re.search(r"spend this month +\$12\.50 +\$0\.00", table), table
        assert re.search(r"storage +5\.0 MB +0 B", table), table
        for _ in range(2):  # removing a limit that is not set changes nothing
            removed = admin("limits", "set", *project, "--spend", "none", "--active-jobs", "none", "--json")
            assert (removed.json()["spend_limit"], removed.json()["max_active_jobs"]) == (None, None)

    @pytest.mark.parametrize(
        "wrong", [("--spend", "12.505"), ("--spend", "-1"), ("--active-jobs", "many"), ("--file-bytes", "-1"), ()]
    )
    def test_what_is_no_limit_changes_nothing(self, admin: CommandLine, wrong: tuple[str, ...]) -> None:
        refused = admin("limits", "set", "--project", new_id("none-"), *wrong)
        assert (refused.status, len(refused.err.splitlines())) == (2, 1)

    def test_of_the_organisation_are_not_one_project_s(self, admin: CommandLine) -> None:
        refused = admin("limits", "show")
        assert (refused.status, "--project" in refused.err) == (2, True)


class TestWebhooks:
    def test_from_an_endpoint_to_a_redelivery(self, member: CommandLine, elsewhere: Elsewhere) -> None:
        created = member("webhooks", "create", "mine", elsewhere.url, "--event", "file.processed")
        assert created.status == 0, created.err
        endpoint, secret = re.findall(r"we_\w+|whsec_\S+", created.out)
        listed = member("webhooks", "list")
        assert elsewhere.url in listed.out
        assert secret not in listed.out
        tested = member("webhooks", "test", endpoint)
        assert (tested.status, "answered 200" in tested.out) == (0, True)
        assert member("trigger", "file.processed").status == 0
        [delivery] = eventually(lambda: self.succeeded(member, endpoint))
        assert delivery["attempts"][0]["status_code"] == 200
        assert delivery["id"] in member("webhooks", "deliveries", endpoint, "--status", "succeeded").out
        assert member("webhooks", "redeliver", delivery["id"]).status == 0
        eventually(lambda: elsewhere.deliveries.count(delivery["event_id"]) == 2)
        refused = member("webhooks", "delete", endpoint)
        assert (refused.status, "--yes" in refused.err) == (2, True)
        assert member("webhooks", "delete", endpoint, "--yes", "--json").json()["deleted"]

    def succeeded(self, member: CommandLine, endpoint: str) -> list[dict[str, Any]]:
        """The deliveries that have arrived."""
        found: list[dict[str, Any]] = member("webhooks", "deliveries", endpoint, "--json").json()["data"]
        return [each for each in found if each["status"] == "succeeded"]


class TestUpstreams:
    def test_shared_ones_by_name_and_no_more(self, member: CommandLine, admin: CommandLine) -> None:
        own = member("upstreams", "list", "--json").json()["data"]
        everything = admin("upstreams", "list", "--json").json()["data"]
        assert [(each["name"], each["shared"]) for each in own if each["name"] == "default"] == [("default", True)]
        [default] = [each for each in everything if each["name"] == "default"]
        assert default["base_url"] not in json.dumps(own)
        assert "default" in member("upstreams", "list").out
        assert default["base_url"] in admin("upstreams", "show", "default").out
        assert default["base_url"] not in member("upstreams", "show", "default").out

    def test_a_credential_comes_from_standard_input_or_the_environment(
        self, member: CommandLine, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upstream = elsewhere.url
        added = member("upstreams", "add", "mine", upstream, "--model", "none-*", "--json", stdin="sk-first-one\n")
        assert added.status == 0, added.err
        assert "sk-first-one" not in added.out
        monkeypatch.setenv("SECOND_CREDENTIAL", "sk-second-one")
        assert member("upstreams", "credential", "mine", "--credential-variable", "SECOND_CREDENTIAL").status == 0
        assert {"Bearer sk-first-one", "Bearer sk-second-one"} <= set(elsewhere.credentials)
        none = member("upstreams", "credential", "mine", "--credential-variable", "NO_CREDENTIAL")
        assert (none.status, "NO_CREDENTIAL" in none.err) == (2, True)
        assert member("upstreams", "add", "empty", upstream).status == 2
        assert member("upstreams", "drain", "mine").out == "mine gets no new jobs.\n"
        assert re.search(r"mine +openai +the project +drained", member("upstreams", "list").out)
        assert member("upstreams", "resume", "mine").out == "mine gets jobs.\n"
        assert member("upstreams", "delete", "mine", "--yes").status == 0
        assert member("upstreams", "show", "mine").status == 2

    def test_a_shared_one_is_not_changed_by_a_project(self, member: CommandLine) -> None:
        refused = member("upstreams", "drain", "default")
        assert (refused.status, "shared" in refused.err) == (2, True)


class TestAuditLog:
    def test_has_names(self, admin: CommandLine) -> None:
        name = new_id("audited-")
        admin("projects", "create", name)
        key = admin("keys", "create", "worker", "--project", name).out.strip()
        shown = CommandLine(admin.base_url, key)("audit-log", "--since", "1h")
        assert shown.status == 0, shown.err
        rows = [re.split(r" {2,}", line.strip()) for line in shown.out.splitlines()[1:]]
        assert [row[1:3] for row in rows] == [
            ["api_key.created", "worker"],
            ["service_account.created", "worker"],
            ["project.created", name],
        ]
        everything = admin("audit-log", "--event", "project.created", "--limit", "1")
        assert name in everything.out
        of_project = admin("audit-log", "--project", name, "--json").json()["data"]
        assert [entry["type"] for entry in of_project] == [row[1] for row in rows]

    def test_a_length_of_time_that_is_none_is_refused(self, member: CommandLine) -> None:
        refused = member("audit-log", "--since", "yesterday")
        assert (refused.status, "such as" in refused.err) == (2, True)
