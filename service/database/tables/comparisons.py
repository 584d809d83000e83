"""What a comparison of models has found, case by case."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base


class ComparisonCase(Base):
    """One case of a comparison that has ended, by its place in the file. The answers themselves are the run's calls.

    Of the file it holds where the example stands there, and no word: `line`, `offset_bytes`, and `turn` for the
    message. `marks` are of each model by grader; `failed` has `MODEL/GRADER`, by the model's number, for what did not
    pass.
    `winner` is the number of the model with the highest score, null where several have it.
    """

    __tablename__ = "comparison_cases"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "run_id"], ["runs.project_id", "runs.id"], ondelete="CASCADE"),
        CheckConstraint("place >= 0 AND line > 0 AND offset_bytes >= 0", name="places"),
    )

    run_id: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project_id: Mapped[str]
    line: Mapped[int]
    turn: Mapped[int]
    offset_bytes: Mapped[int]
    winner: Mapped[int | None]
    failed: Mapped[list[str]]
    scores: Mapped[list[Any]]
    marks: Mapped[list[Any]]
