"""The generated pages: what a list in the code says, the documentation says too. `make docs` writes them.

Each function returns a whole file; `PAGES` says which. A test compares them with what is in the repository.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from service.datasets.checks.markdown import checks_markdown
from service.error_codes import ERROR_CODES
from service.settings import documentation
from service.webhooks.markdown import with_events

ROOT = Path(__file__).resolve().parent.parent


def settings_page() -> str:
    """`docs/settings.md`."""
    rows = "".join(
        f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |\n"
        for name, default, meaning, _ in documentation()
    )
    return (
        "# Settings\n\nAll from the environment, read once at start-up; a value that makes no sense stops the process "
        "with its name.\nThis page is generated: `make docs`.\n\n| variable | default | meaning |\n|---|---|---|\n"
        + rows
    )


def env_example() -> str:
    """`.env.example`: every setting, commented out, with its default."""
    parts = ["# Settings of Tunegate, with their defaults. Generated: `make docs`.\n"]
    for name, default, meaning, secret in documentation():
        note = " (secret)" if secret else ""
        parts.append(f"\n# {meaning}{note}\n# {name}={default}\n")
    return "".join(parts)


def error_codes_page() -> str:
    """`docs/errors.md`."""
    rows = "".join(
        f'| <a id="{code}"></a>`{code}` | {entry.status or "job"} | {entry.meaning} | {entry.remedy} |\n'
        for code, entry in sorted(ERROR_CODES.items())
    )
    return (
        '# Error codes\n\nEvery refusal has OpenAI\'s body, `{"error": {"message", "type", "param", "code"}}`, and a '
        "code that stays the same.\n`x-should-retry: false` says that repeating the call cannot help. A status of "
        "`job` means that the code stands in the `error` of a job,\na preparation, a generation or a comparison. An "
        "upstream's own refusal keeps the upstream's code. This page is generated: `make docs`.\n\n"
        "| code | status | meaning | what to do |\n"
        "|---|---|---|---|\n" + rows
    )


def webhooks_page() -> str:
    """`docs/webhooks.md`: written by hand down to its last section, the catalogue of events."""
    return with_events((ROOT / "docs/webhooks.md").read_text(encoding="utf-8"))


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/settings.md": settings_page,
    ".env.example": env_example,
    "docs/errors.md": error_codes_page,
    "docs/checks.md": checks_markdown,
    "docs/webhooks.md": webhooks_page,
}


def main() -> None:
    """Write every page."""
    for path, page in PAGES.items():
        (ROOT / path).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
