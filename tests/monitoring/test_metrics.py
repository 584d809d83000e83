"""The metrics that API and worker export are those of the documentation, and none is on the public port."""

import re
import time

import httpx2
import pytest

from service.monitoring import internal_listener
from tests.docs.references import ROOT
from tests.stack import DevStack

TYPE = re.compile(r"^# TYPE (tunegate_\w+) (\w+)$", re.MULTILINE)
SAMPLE = re.compile(r"^(tunegate_\w+?)(?:_bucket|_sum|_count)?\{([^}]*)\} ", re.MULTILINE)
ROW = re.compile(r"^\| `(tunegate_\w+)` \| (\w+) \|([^|]*)\| ([^|]+) \|", re.MULTILINE)


@pytest.fixture(scope="module")
def exported(stack: DevStack) -> dict[str, str]:
    """What the two processes of a stack export."""
    time.sleep(internal_listener.REUSED_SECONDS)
    return {name: httpx2.get(url, timeout=60).text for name, url in stack.ready()["metrics_urls"].items()}


@pytest.fixture(scope="module")
def documented() -> list[tuple[str, str, set[str], set[str]]]:
    """The rows of the table: name, type, labels, processes."""
    rows = ROW.findall((ROOT / "docs/operations.md").read_text(encoding="utf-8"))
    return [
        (name, kind, set(re.findall(r"`(\w+)`", labels)), set(processes.strip().lower().split(", ")))
        for name, kind, labels, processes in rows
    ]


def test_every_exported_metric_is_documented_and_the_reverse(
    exported: dict[str, str], documented: list[tuple[str, str, set[str], set[str]]]
) -> None:
    assert set(exported) == {"api", "worker"}
    in_docs = {(name, kind) for name, kind, _, _ in documented}
    assert {found for text in exported.values() for found in TYPE.findall(text)} == in_docs
    for process, text in exported.items():
        there = {name for name, _ in TYPE.findall(text)}
        assert {name for name, _, _, processes in documented if process in processes} - there == set(), process


def test_every_label_is_documented_and_none_is_a_project(
    exported: dict[str, str], documented: list[tuple[str, str, set[str], set[str]]]
) -> None:
    labels = {name: named for name, _, named, _ in documented}
    samples = [found for text in exported.values() for found in SAMPLE.findall(text)]
    assert samples
    for name, text in samples:
        assert set(re.findall(r"(\w+)=", text)) - {"le"} <= labels[name], name
    assert "proj_" not in "".join(exported.values())


def test_a_restarted_process_has_its_metrics_at_the_same_place(stack: DevStack) -> None:
    urls = stack.ready()["metrics_urls"]
    assert {httpx2.get(url.replace("/metrics", "/livez"), timeout=60).status_code for url in urls.values()} == {200}


def test_the_public_port_has_no_metrics(stack: DevStack) -> None:
    root = stack.ready()["base_url"].removesuffix("/v1")
    answer = httpx2.get(f"{root}/metrics", timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")
    for path in ("/livez", "/readyz"):
        assert not re.search(r"proj_|upstream_|default", httpx2.get(f"{root}{path}", timeout=60).text)
