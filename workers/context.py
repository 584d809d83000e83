"""What the workers' steps need: made once at start-up, closed at the end."""

from dataclasses import dataclass

from service.db import Database
from service.settings import Settings
from service.storage import Storage
from service.upstream.port import Upstream
from service.webhooks.sender import Sender
from workers.validators import Validators


@dataclass(frozen=True, slots=True)
class Context:
    """The composition root of a worker process."""

    settings: Settings
    db: Database
    storage: Storage
    upstream: Upstream
    sender: Sender
    validators: Validators
