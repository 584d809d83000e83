"""Every code block of every document is run, parsed or labelled: page by page, on one stack."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import IN_SUMMARY
from tests.docs.blocks import Unmarked, blocks, counted, pages, parse
from tests.docs.page import Page, repository
from tests.docs.parsed import PARSERS
from tests.docs.things import Things
from tests.stack import DevStack

PAGES = pages()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevStack]:
    """One stack for all pages, which set prices, limits and roles that other tests must not find."""
    started = DevStack(tmp_path_factory.mktemp("docs"))
    try:
        yield started.start()
    finally:
        started.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every page takes for the root of the repository."""
    return repository(tmp_path_factory.mktemp("repository"))


@pytest.mark.timeout(600)
@pytest.mark.xdist_group("documents")
@pytest.mark.parametrize("page", PAGES)
def test_its_blocks_run_as_written(stack: DevStack, folder: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    things = Things(stack)
    monkeypatch.chdir(folder)
    for name, value in things.variables().items():
        monkeypatch.setenv(name, value)
    run = Page(things, folder)
    failures: list[str] = []
    try:
        for block in blocks(page):
            try:
                run.run(block)
            except Exception as error:
                failures.append(f"{block.where}: {type(error).__name__}: {error}")
    finally:
        run.close()
    if failures:
        pytest.fail("\n".join(failures), pytrace=False)


def test_every_block_is_known_and_they_are_counted(record_property: Callable[[str, object], None]) -> None:
    found = [block for page in PAGES for block in blocks(page)]
    record_property(IN_SUMMARY, counted(found))
    assert sum(block.treatment == "not run" for block in found) * 8 < len(found), "few blocks are not run"


@pytest.mark.parametrize(
    "text",
    [
        "    tunegate dev\n",
        "```\ntunegate dev\n```\n",
        "```bash\ntunegate dev\n```\n",
        "```sh not run\ntunegate dev\n```\n",
        "```sh exits\ntunegate dev\n```\n",
        "```python as owner\n1\n```\n",
        "```text faq.csv\n1\n```\n",
        "```json PUT /v1/files\n{}\n```\n",
    ],
)
def test_a_block_without_a_known_mark_is_refused(text: str) -> None:
    (block,) = parse("page.md", text)
    with pytest.raises(Unmarked, match=r"page\.md:1"):
        assert block.treatment


@pytest.mark.parametrize(
    ("language", "good", "bad"),
    [
        ("json", '{"a": 1}', '{"a": …}'),
        ("jsonl", '{"a": 1}\n{}\n', '{"a": 1}\n{\n'),
        ("csv", 'a,b\n1,"2, 3"\n', "a,b\n1,2,3\n"),
        ("toml", "a = 1", "a ="),
        ("yaml", "a: [1]", "a: ]"),
        ("ini", "a = 1", "a"),
        ("env", "# one\nA_B=1   # two\n", "export A=1"),
        ("mermaid", "stateDiagram-v2\n    [*] --> a: begins", "stateDiagram-v2\n    [*] -> a"),
        (
            "mermaid",
            "sequenceDiagram\nparticipant A\nloop x\nA->>A: y\nend",
            "sequenceDiagram\nparticipant A\nA->>B: y",
        ),
        ("mermaid", "sequenceDiagram", "sequenceDiagram\nloop x"),
        ("mermaid", "stateDiagram-v2", "graph TD"),
    ],
)
def test_what_is_only_parsed_is_parsed(language: str, good: str, bad: str) -> None:
    PARSERS[language](good)
    with pytest.raises(ValueError, match=r"."):
        PARSERS[language](bad)
