"""Runs what a command asks of the database, on a schema that this version knows."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from service.database.problems import DatabaseUnusable, in_words
from service.database.schema import check_schema
from service.settings import Settings

Result = TypeVar("Result")


def on_schema(settings: Settings, ask: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """The result of `ask`, once the schema is checked. Raises `SettingsError` where the database cannot be used."""

    async def checked() -> Result:
        if (problem := await check_schema(settings, application="tunegate-command")) is not None:
            raise DatabaseUnusable(problem)
        return await ask()

    with in_words(settings.database_url):
        return asyncio.run(checked())
