"""What the workers' steps need: made once at start-up, closed at the end."""

import datetime as dt
from dataclasses import dataclass

from service.db import Database
from service.models.catalogue import Catalogue
from service.settings import Settings
from service.storage import Storage
from service.upstream.port import Upstream
from service.webhooks.sender import Sender
from workers.validators import Validators


@dataclass(frozen=True, slots=True)
class Context:
    """The composition root of a worker process. `instance` marks this gateway's jobs upstream."""

    settings: Settings
    instance: str
    db: Database
    storage: Storage
    catalogue: Catalogue
    upstream: Upstream
    sender: Sender
    validators: Validators

    def today(self) -> dt.date:
        """The UTC date, for prices."""
        return dt.datetime.now(dt.UTC).date()
