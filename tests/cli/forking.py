"""A process that has imported every command, and forks for each run of one: that takes a tenth of what a start takes.

Each line of its input is a run: `{"program", "arguments", "environment", "folder"}`. It writes the exit status in a
line. The output is in the files `stdout` and `stderr` of the folder.
"""

import gc
import importlib
import json
import os
import signal
import sys
from pathlib import Path

MODULES = (
    *("cli.audit", "cli.check", "cli.compare", "cli.database", "cli.deletions", "cli.demo.run", "cli.dev"),
    *("cli.generate", "cli.listen", "cli.listening", "cli.main", "cli.prepare", "cli.profiles", "cli.trigger"),
    *("service.app", "service.database.migrations", "service.identity.bootstrap", "service.key_rotation"),
    *("service.start_checks", "service.unknown_settings", "trainer.server", "uvloop", "workers.main"),
    *(f"cli.commands.{path.stem}" for path in sorted(Path("cli/commands").glob("[a-z]*.py"))),
)
MAX_SECONDS = 60
"""After this time a run is killed: a process that should have refused serves instead."""


def main() -> None:
    """Run what the input asks for, one after the other."""
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()  # or each fork would copy what it only reads
    for line in sys.stdin:
        run = json.loads(line)
        if not (pid := os.fork()):
            _run(run)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(run: dict[str, object]) -> None:
    signal.alarm(MAX_SECONDS)
    folder = Path(str(run["folder"]))
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    environment, arguments = run["environment"], run["arguments"]
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    status: object = 0
    try:
        if run["program"] == "trainer":
            from trainer.__main__ import main as trainer_main

            sys.argv = ["trainer", *arguments]
            sys.exit(trainer_main())
        from cli.main import main as command

        command(arguments)
    except SystemExit as ended:
        status = ended.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    main()
