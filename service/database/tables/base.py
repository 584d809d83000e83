"""The declarative base and the columns that several tables share."""

import datetime as dt
from typing import Any, ClassVar

from sqlalchemy import ARRAY, BigInteger, DateTime, LargeBinary, MetaData, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The declarative base: the mapping of Python types to columns, and the names of constraints."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        bytes: LargeBinary,
        dt.datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
        dict[str, str]: JSONB(none_as_null=True),
        list[Any]: JSONB(none_as_null=True),
        list[str]: ARRAY(Text),
    }


def now() -> Any:
    """A column whose default is the start of the transaction."""
    return mapped_column(server_default=func.now())


class Leased:
    """Columns of a row of leased work, which one worker at a time processes. `due_at` null means nothing to do."""

    __tablename__: Any

    id: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[dt.datetime | None]
    lease_token: Mapped[int] = mapped_column(server_default="0")
    leased_until: Mapped[dt.datetime | None]
    failures: Mapped[int] = mapped_column(server_default="0")
