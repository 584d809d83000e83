"""What the workers' steps need: made once at start-up, closed at the end."""

import datetime as dt
from dataclasses import dataclass, fields

from service.db import Database
from service.models.catalogue import Catalogue
from service.settings import Settings
from service.storage import Storage
from service.upstream.accounts import Accounts
from service.upstream.port import Upstream
from service.webhooks.sender import Sender
from workers.turns import Turns
from workers.validators import Validators


@dataclass(frozen=True, slots=True)
class Context:
    """The composition root of a worker process. `instance` marks this gateway's jobs upstream."""

    settings: Settings
    instance: str
    db: Database
    storage: Storage
    catalogue: Catalogue
    accounts: Accounts
    turns: Turns
    sender: Sender
    validators: Validators

    def today(self) -> dt.date:
        """The UTC date, for prices."""
        return dt.datetime.now(dt.UTC).date()

    def at(self, upstream: Upstream) -> "AccountContext":
        """The same for a step about one upstream account."""
        return AccountContext(**{field.name: getattr(self, field.name) for field in fields(Context)}, upstream=upstream)


@dataclass(frozen=True, slots=True)
class AccountContext(Context):
    """The context of a step about one upstream account."""

    upstream: Upstream
