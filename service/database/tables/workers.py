"""The running workers."""

import datetime as dt

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, now


class WorkerHeartbeat(Base):
    """The heartbeat of a worker process's dispatcher. It belongs to no project; a clean stop deletes the row."""

    __tablename__ = "worker_heartbeats"
    __table_args__ = (Index("ix_worker_heartbeats_beat", "beat_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    started_at: Mapped[dt.datetime] = now()
    beat_at: Mapped[dt.datetime] = now()
