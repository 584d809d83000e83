"""The results of model comparisons, case by case."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base


class ComparisonCase(Base):
    """One graded case of a comparison that has ended. The answers themselves are the run's calls.

    The row holds the position of the example in the file (`line`, `offset_bytes`, and `turn` for the message), and none
    of its text. `place` orders the cases. `grader_scores` holds the scores of each model by grader, `scores` their mean
    for each model. `failed` lists `MODEL/GRADER`, with the model's number, for every score that did not pass. `winner`
    is the number of the model with the highest score, null where several share it.
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
    grader_scores: Mapped[list[Any]] = mapped_column("marks")
