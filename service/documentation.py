"""Generates the documentation pages that list settings, errors, checks, events and limits. `make docs` writes them.

Each function returns the text of a whole file; `PAGES` maps file names to functions. A test compares the generated
texts with the files in the repository.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from service.datasets.checks.markdown import checks_markdown
from service.documented_limits.page import with_limits
from service.error_codes import ERROR_CODES
from service.settings import documentation
from service.webhooks.markdown import with_events

ROOT = Path(__file__).resolve().parent.parent


def settings_page() -> str:
    """The text of `docs/settings.md`."""
    rows = "".join(
        f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |\n"
        for name, default, meaning, _ in documentation()
    )
    return (
        "# Settings\n\nSettings are read from the environment once, at start-up. If a value is invalid, the process "
        "stops and names the variable.\nThis page is generated: `make docs`.\n\n"
        "| variable | default | meaning |\n|---|---|---|\n" + rows
    )


COMPOSE_PASSWORDS = {
    "POSTGRES_PASSWORD": "The owner of the schema, in the Postgres of compose.yaml.",
    "SERVICE_PASSWORD": "The service's login there.",
    "REDIS_PASSWORD": "The Redis of compose.yaml.",
}
"""What compose.yaml reads from `.env` besides settings; it puts them into the URLs."""


def env_example() -> str:
    """The text of `.env.example`: every setting, commented out, with its default, and what compose.yaml needs."""
    parts = ["# Settings of Tunegate, with their defaults. Generated: `make docs`.\n"]
    parts.append("# As `.env`, compose.yaml reads these three from it, TUNEGATE_MASTER_KEY and OPENAI_*.\n")
    parts += [f"\n# {meaning} (secret)\n# {name}=\n" for name, meaning in COMPOSE_PASSWORDS.items()]
    for name, default, meaning, secret in documentation():
        note = " (secret)" if secret else ""
        parts.append(f"\n# {meaning}{note}\n# {name}={default}\n")
    return "".join(parts)


def error_codes_page() -> str:
    """The text of `docs/errors.md`."""
    rows = "".join(
        f'| <a id="{code}"></a>`{code}` | {entry.status or "job"} | {entry.meaning} | {entry.remedy} |\n'
        for code, entry in sorted(ERROR_CODES.items())
    )
    return (
        '# Error codes\n\nEvery error response has OpenAI\'s body, `{"error": {"message", "type", "param", "code"}}`, '
        "and a stable code.\n`x-should-retry: false` means that repeating the call cannot help. A status of "
        "`job` means that the code appears in the `error` of a job,\na preparation, a generation or a comparison. "
        "Errors that an upstream returned keep the upstream's code. This page is generated: `make docs`.\n\n"
        "| code | status | meaning | what to do |\n"
        "|---|---|---|---|\n" + rows
    )


def webhooks_page() -> str:
    """The text of `docs/webhooks.md`: written by hand except for its last section, the catalogue of events."""
    return with_events((ROOT / "docs/webhooks.md").read_text(encoding="utf-8"))


def limits_page() -> str:
    """The text of `docs/limits.md`: written by hand except for its last section, the table of all limits."""
    return with_limits((ROOT / "docs/limits.md").read_text(encoding="utf-8"))


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/settings.md": settings_page,
    ".env.example": env_example,
    "docs/errors.md": error_codes_page,
    "docs/checks.md": checks_markdown,
    "docs/webhooks.md": webhooks_page,
    "docs/limits.md": limits_page,
}


def main() -> None:
    """Writes every page to its file."""
    for path, page in PAGES.items():
        (ROOT / path).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
