"""The code blocks of the documents, and how each is tested: run, parsed, or only counted.

A block is a fence with a language. What follows the language says how it is treated:

    ```text                        output or a picture: neither run nor parsed
    ```sh                          run; so are `python` and `sql`
    ```sh exits 1                  run; it ends with this status
    ```sh until TEXT               runs until the page ends; the next block begins once it has printed TEXT
    ```sh run by tests/x.py        another test runs it
    ```sh not run: REASON          not run
    ```sql as owner                run by this login; `as owner, rolled back` leaves nothing behind
    ```json                        parsed; so are the other languages of `tests/docs/parsed.py`
    ```csv faq.csv                 parsed, and written to that file for the blocks after it
    ```json POST /v1/…             sent with the page's key

`python -m tests.docs.blocks` prints how many there are of each kind, and those that are not run with their reasons.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from markdown_it import MarkdownIt

from tests.docs.parsed import PARSERS
from tests.docs.references import ROOT

RUN = ("sh", "python", "sql")
OUTPUT = "text"

Treatment = Literal["output", "run", "make target", "run by another test", "not run", "parsed", "file", "sent"]


class Unmarked(Exception):
    """A block whose language or label the tests do not know; the message says where and what to write."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A code block. `label` is what follows the language."""

    page: str
    line: int
    language: str
    label: str
    content: str

    @property
    def where(self) -> str:
        """Where it is, for messages."""
        return f"{self.page}:{self.line}"

    @cached_property
    def treatment(self) -> Treatment:
        """What the tests do with it. Raises `Unmarked`."""
        if self.language == OUTPUT and not self.label:
            return "output"
        if self.reason:
            return "not run"
        if self.language in RUN:
            if self.other_test:
                return "run by another test"
            self._check_label()
            return "make target" if self.language == "sh" and self._only_make() else "run"
        if self.language in PARSERS:
            if not self.label:
                return "parsed"
            if self.language == "json" and re.fullmatch(r"POST /v1/\S+", self.label):
                return "sent"
            if re.fullmatch(r"[\w./-]+\.\w+", self.label):
                return "file"
        raise Unmarked(
            f"{self.where}: a block is a fence with a language ({', '.join((OUTPUT, *RUN, *PARSERS))}) "
            f"and a label that tests/docs/blocks.py explains, not '{self.language} {self.label}'"
        )

    @property
    def reason(self) -> str:
        """Why it is not run, or nothing."""
        return self.label.removeprefix("not run:").strip() if self.label.startswith("not run:") else ""

    @property
    def other_test(self) -> str:
        """The test that runs it, or nothing."""
        return self.label.removeprefix("run by ") if self.label.startswith("run by ") else ""

    @property
    def status(self) -> int:
        """The exit status of a command."""
        return int(self.label.removeprefix("exits ")) if self.label.startswith("exits ") else 0

    @property
    def until(self) -> str:
        """What a command prints that goes on in the background, or nothing."""
        return self.label.removeprefix("until ") if self.label.startswith("until ") else ""

    def _check_label(self) -> None:
        allowed = {"sh": r"|exits \d+|until .+", "python": r"", "sql": r"as \w+(, rolled back)?"}[self.language]
        if not re.fullmatch(allowed, self.label):
            raise Unmarked(f"{self.where}: a block of {self.language} is not labelled '{self.label}'")

    def _only_make(self) -> bool:
        commands = [line for line in self.content.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        return all(re.match(r"make\b|export \S+=", line) for line in commands)


def pages() -> list[str]:
    """Every document with code blocks, as a path from the root, in order."""
    folders = ("docs", "service", "trainer", "examples", "benchmarks", "deploy")
    found = [*ROOT.glob("*.md"), *(path for folder in folders for path in (ROOT / folder).rglob("*.md"))]
    return sorted(name for path in found if blocks(name := path.relative_to(ROOT).as_posix()))


def blocks(page: str) -> list[Block]:
    """The blocks of a page. Code that is only indented is a block without a language."""
    return list(parse(page, (ROOT / page).read_text(encoding="utf-8")))


def parse(page: str, text: str) -> Iterator[Block]:
    """The blocks of a text."""
    for token in MarkdownIt().parse(text):
        if token.type in ("fence", "code_block") and token.map is not None:
            language, _, label = token.info.strip().partition(" ")
            yield Block(page=page, line=token.map[0] + 1, language=language, label=label.strip(), content=token.content)


def counted(found: Sequence[Block]) -> str:
    """How many blocks there are of each kind, and each that is not run here, with its reason."""
    kinds = Counter((block.treatment, block.language) for block in found)
    lines = [f"{len(found)} code blocks in {len({block.page for block in found})} documents"]
    for treatment in dict.fromkeys(treatment for treatment, _ in kinds):
        languages = {language: count for (each, language), count in kinds.most_common() if each == treatment}
        shown = ", ".join(f"{count} {language}" for language, count in languages.items())
        lines.append(f"  {sum(languages.values()):4} {treatment}: {shown}")
    lines += [f"       not run: {block.where} ({block.reason})" for block in found if block.reason]
    lines += [f"       run by {block.other_test}: {block.where}" for block in found if block.other_test]
    return "\n".join(lines)


if __name__ == "__main__":
    print(counted([block for page in pages() for block in blocks(page)]))
