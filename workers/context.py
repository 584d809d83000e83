"""What the workers' steps need: made once at start-up, closed at the end."""

import asyncio
import datetime as dt
from dataclasses import dataclass, field, fields

from service.billing.batcher import Cashier
from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.inference.metering import Meter
from service.limits.rates import RateKeeper
from service.settings import Settings
from service.storage import Storage
from service.upstreams.accounts import Accounts
from service.upstreams.port import Upstream
from service.webhooks.sender import Sender
from workers.datasets.validators import Validators
from workers.jobs.bulkhead import Turns


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
    cashier: Cashier
    meter: Meter
    rates: RateKeeper
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process is to end: what can be given back is given back."""

    def today(self) -> dt.date:
        """The UTC date, for prices."""
        return dt.datetime.now(dt.UTC).date()

    def at(self, upstream: Upstream) -> "AccountContext":
        """The same for a step about one upstream account."""
        return AccountContext(**{each.name: getattr(self, each.name) for each in fields(Context)}, upstream=upstream)


@dataclass(frozen=True, slots=True)
class AccountContext(Context):
    """The context of a step about one upstream account."""

    upstream: Upstream = field(kw_only=True)
