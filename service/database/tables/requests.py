"""Creating requests and their stored responses."""

import datetime as dt

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, now


class RememberedRequest(Base):
    """A creating request and its response, which a repeated request gets again (`http/idempotency.py`).

    `project_id` is null for requests of the organisation's API.
    """

    __tablename__ = "remembered_requests"
    __table_args__ = (
        UniqueConstraint("project_id", "route", "idempotency_key"),
        Index("ix_remembered_requests_body", "project_id", "route", "body_sha256", "created_at"),
        Index("ix_remembered_requests_created", "created_at"),
        Index(
            "uq_remembered_requests_organization",
            "route",
            "idempotency_key",
            unique=True,
            postgresql_where=text("project_id IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    key_id: Mapped[str]
    route: Mapped[str]
    idempotency_key: Mapped[str | None]
    body_sha256: Mapped[bytes]
    retry_count: Mapped[int] = mapped_column(server_default="0")
    response: Mapped[bytes]
    created_at: Mapped[dt.datetime] = now()
