"""The `tunegate` command. A subcommand's module is imported when it is invoked, its dependencies when it runs."""

import os
import signal
import sys
from typing import NoReturn

from cyclopts import App, CycloptsError, Group

from cli.errors import Refused
from cli.failures import discard_output, line_of, show_defect, usage_line
from service.errors import SettingsError

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
EXIT_OUTPUT_CLOSED = 141
"""That of programs which SIGPIPE ends."""

LOG_UNKNOWN_SETTINGS = ("serve", "worker")
"""Commands that log unknown settings instead of printing them."""

GROUPS = {
    "Main job": (
        *("check", "prepare", "generate", "quote", "train", "experiment", "jobs", "files"),
        *("compare", "models", "aliases", "ask", "login", "logout", "profiles"),
    ),
    "Organisation": (
        *("costs", "limits", "webhooks", "upstreams"),
        *("audit-log", "projects", "keys"),
    ),
    "Operations": ("serve", "worker", "migrate", "audit", "deletions", "doctor", "config"),
    "Development": ("dev", "demo", "listen", "trigger", "openapi", "completion"),
}
"""The commands in the order in which `--help` lists them: `audit-log` is `audit_log` of `cli.commands.audit_log`."""

COMMANDS = tuple(command for commands in GROUPS.values() for command in commands)


def _version() -> str:
    """The version of the installed package."""
    from importlib.metadata import version  # its import takes half as long as that of this whole module

    return version("tunegate")


app = App(
    name="tunegate",
    print_error=False,
    help="A fine-tuning gateway: the official openai SDK is its client.",
    version=_version,
    version_flags=["--version"],
)
for place, (title, commands) in enumerate(GROUPS.items()):
    group = Group(title, sort_key=place)
    for command in commands:
        module = command.replace("-", "_")
        app.command(f"cli.commands.{module}:{module}", name=command, group=group, sort_key=COMMANDS.index(command))
options = Group("Options", sort_key=len(GROUPS))
for flag in ("--help", "--version"):
    app[flag].group = options


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit.

    0 done, 1 failed (or errors found), 2 wrong usage, settings or machine, 130 Ctrl-C, 141 the output was closed.
    """
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if not given or given[0] not in COMMANDS:
            app.help_format = "plaintext"  # the list has no Markdown, whose renderer takes a quarter of the time
            app.resolved_commands()  # the list of commands shows the help of loaded ones
        if given and given[0] not in LOG_UNKNOWN_SETTINGS:
            _warn_of_unknown_settings()
        status = app(given, exit_on_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        _refuse(usage_line(error))
    except (Refused, SettingsError) as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends what is left at once
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        discard_output()
        sys.exit(EXIT_OUTPUT_CLOSED)
    except OSError as error:
        if (line := line_of(error)) is not None:
            _refuse(line)
        show_defect(error)
        sys.exit(EXIT_FAILED)
    except Exception as error:
        show_defect(error)
        sys.exit(EXIT_FAILED)
    sys.exit(status if isinstance(status, int) else EXIT_OK)


def _refuse(line: str) -> NoReturn:
    print(f"tunegate: {line}", file=sys.stderr)
    sys.exit(EXIT_USAGE)


def _warn_of_unknown_settings() -> None:
    if any(name.startswith("TUNEGATE_") for name in os.environ):
        from service.unknown_settings import unknown_settings

        for unknown in unknown_settings(os.environ):
            print(f"tunegate: {unknown}", file=sys.stderr)
