"""`tunegate worker`: what the API accepted is done."""

import os

from cli.starting import imports
from service.settings import Settings


def worker() -> None:
    """Do the work that the API accepted: uploads, creates, polls, deliveries."""
    with imports():
        import uvloop

        from workers.main import run

    settings = Settings.from_env(os.environ)

    async def work() -> None:
        await run(settings)

    uvloop.run(work())
