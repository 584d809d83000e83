"""`tunegate worker`: runs a worker."""

import os

from cli.starting import for_terminal, imports
from service.settings import Settings


def worker() -> None:
    """Run a worker, which does the work that the API accepts.

    That work is: uploads, jobs, generations, comparisons, webhook deliveries, deletions.
    """
    with imports():
        import uvloop

        from workers.main import run

    settings = for_terminal(Settings.from_env(os.environ))

    async def work() -> None:
        await run(settings)

    uvloop.run(work())
