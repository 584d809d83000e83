"""Runs the blocks of one page in order, in one folder that looks like the repository's root, against one stack."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from tests.docs.blocks import Block
from tests.docs.parsed import PARSERS
from tests.docs.references import ROOT
from tests.docs.things import PASSWORD, Things, environment_of
from tests.wire import eventually

COPIED = ("examples",)
"""Folders in which commands write beside their input; the others are linked."""

BLOCK_SECONDS = 150.0

MAKE = 'make() { command make --dry-run "$@" > /dev/null; }\n'
"""In the documents' shells, `make` checks that its targets exist, and runs nothing."""


def repository(folder: Path) -> Path:
    """A folder in which paths of the repository work and into which blocks may write."""
    for entry in ROOT.iterdir():
        if entry.name in COPIED:
            shutil.copytree(entry, folder / entry.name)
        elif entry.name not in (".git", ".tunegate"):
            (folder / entry.name).symlink_to(entry)
    return folder


class Page:
    """A page that is being run."""

    def __init__(self, things: Things, folder: Path) -> None:
        self._things = things
        self._folder = folder
        self._namespace: dict[str, Any] = {"__name__": "__main__"}
        self._loop = asyncio.Runner()
        self._sessions: dict[str, Any] = {}
        self._background: list[tuple[Block, subprocess.Popen[bytes], Path]] = []

    def run(self, block: Block) -> None:
        """Do with a block what its label says. Raises AssertionError, or what Python code raises."""
        match block.treatment, block.language:
            case "run" | "make target", "sh":
                self._shell(block)
            case "run", "python":
                self._python(block)
            case "run", "sql":
                self._loop.run(self._sql(block))
            case "parsed" | "file" | "sent", language:
                self._parsed(block, language)
            case "run by another test", language:
                assert (ROOT / block.other_test).is_file(), f"{block.where}: {block.other_test} does not exist"
                _check_syntax(block, language)
            case "not run", language:
                _check_syntax(block, language)

    def close(self) -> None:
        """End the commands in the background like Ctrl-C, and cancel unfinished jobs."""
        for session in self._sessions.values():
            self._loop.run(session.close())
        self._loop.close()
        ended = [(block, _interrupted(process), output) for block, process, output in self._background]
        self._things.clear()
        for block, status, output in ended:
            assert status in (0, 130), f"{block.where} ended with status {status}:\n{output.read_text()}"

    def _shell(self, block: Block) -> None:
        script = MAKE + self._things.filled(block.content)
        output = self._folder / f".output-{block.line}"
        with output.open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=self._folder,
                env=self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if block.until:
            self._background.append((block, process, output))
            eventually(lambda: block.until in output.read_text() or process.poll() is not None)
            assert process.poll() is None, f"{block.where} ended:\n{output.read_text()}"
            return
        try:
            status = process.wait(BLOCK_SECONDS)
        finally:
            _killed(process)
        assert status == block.status, f"{block.where} ended with status {status}:\n{output.read_text()}"

    def _python(self, block: Block) -> None:
        content = self._things.filled(block.content)
        self._namespace |= self._things.wanted_by(content, set(self._namespace))
        exec(compile(content, f"{ROOT / block.page}:{block.line}", "exec"), self._namespace)

    async def _sql(self, block: Block) -> None:
        """One transaction of the page's session of this login."""
        who, _, rolled_back = block.label.removeprefix("as ").partition(", ")
        if who not in self._sessions:
            self._sessions[who] = await asyncpg.connect(self._database_url(who))  # type: ignore[no-untyped-call]
        transaction = self._sessions[who].transaction()
        await transaction.start()
        try:
            await self._sessions[who].execute(self._things.filled(block.content))
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.rollback() if rolled_back else transaction.commit())

    def _database_url(self, who: str) -> str:
        owner: str = self._things.ready["database_url"]
        host = owner.rpartition("@")[2]
        match who:
            case "owner":
                return owner
            case "superuser":
                return f"postgresql://postgres:{self._things.credentials['postgres_password']}@{host}"
            case login:
                return f"postgresql://{login}:{PASSWORD}@{host}"

    def _parsed(self, block: Block, language: str) -> None:
        try:
            PARSERS[language](block.content)
        except ValueError as error:
            raise AssertionError(f"{block.where} is not {language}: {error}") from None
        if block.treatment == "file":
            (self._folder / block.label).write_text(block.content, encoding="utf-8")
        if block.treatment == "sent":
            self._sent(block, block.label.removeprefix("POST "))

    def _sent(self, block: Block, path: str) -> None:
        key = self._things.ready["admin_key"] if path.startswith("/v1/organization") else self._things.tenant.key
        response = httpx2.post(
            self._things.ready["base_url"].removesuffix("/v1") + self._things.filled(path),
            content=self._things.filled(block.content).encode(),
            headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
            timeout=60,
        )
        assert response.status_code == 200, f"{block.where}: {response.text}"

    def _variables(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return environment_of(self._things, self._folder, path)


def _check_syntax(block: Block, language: str) -> None:
    """What can be said of code that is not run here."""
    if language == "python":
        compile(block.content, block.where, "exec")
    elif language == "sh":
        done = subprocess.run(["bash", "-n", "-c", block.content], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block.where}: {done.stderr}"


def _interrupted(process: subprocess.Popen[bytes]) -> int:
    """End a background command's whole session like Ctrl-C: the status of its shell."""
    try:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        return process.wait(30)
    finally:
        _killed(process)


def _killed(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
