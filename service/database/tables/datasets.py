"""Tables of datasets: files, uploads in parts, file reports, leakage reports and preparations."""

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, Leased, now
from service.states import FilePurpose, FileStatus, PreparationStatus, ReportStatus, UploadStatus


class File(Base):
    """A dataset or a result file; its bytes are stored under `storage_key`. A deleted file keeps its row."""

    __tablename__ = "files"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        CheckConstraint("status IN ('uploaded', 'processed', 'error')", name="status"),
        CheckConstraint("size_bytes >= 0", name="size"),
        Index("ix_files_project", "project_id", "id", postgresql_where=text("deleted_at IS NULL")),
        Index(
            "ix_files_purpose",
            "project_id",
            "purpose",
            text("id DESC NULLS LAST"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("ix_files_content", "project_id", "sha256", postgresql_where=text("deleted_at IS NULL")),
        Index(
            "ix_files_content_left",
            "id",
            postgresql_where=text("deleted_at IS NOT NULL AND content_deleted_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    filename: Mapped[str]
    purpose: Mapped[FilePurpose] = mapped_column(Text)
    size_bytes: Mapped[int]
    sha256: Mapped[str]
    storage_key: Mapped[str]
    status: Mapped[FileStatus] = mapped_column(Text)
    status_details: Mapped[str | None]
    created_at: Mapped[dt.datetime] = now()
    expires_at: Mapped[dt.datetime | None]
    deleted_at: Mapped[dt.datetime | None]
    content_deleted_at: Mapped[dt.datetime | None]


class PendingUpload(Base):
    """An object that is being written and that no file refers to yet. The storage clean-up removes it after a crash."""

    __tablename__ = "pending_uploads"

    storage_key: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    created_at: Mapped[dt.datetime] = now()


class Upload(Leased, Base):
    """A file that is sent in parts. The lease belongs to its completion: one call at a time joins the parts."""

    __tablename__ = "uploads"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        ForeignKeyConstraint(["project_id", "file_id"], ["files.project_id", "files.id"]),
        CheckConstraint("status IN ('pending', 'completed', 'cancelled', 'expired')", name="status"),
        CheckConstraint("size_bytes > 0", name="size"),
        CheckConstraint("(status = 'completed') = (file_id IS NOT NULL)", name="completed"),
        CheckConstraint("(file_id IS NULL) = (part_ids IS NULL) AND (file_id IS NULL) = (md5 IS NULL)", name="joined"),
        CheckConstraint("status = 'pending' OR due_at IS NULL", name="ended"),
        Index("ix_uploads_pending", "expires_at", postgresql_where=text("status = 'pending'")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    filename: Mapped[str]
    purpose: Mapped[FilePurpose] = mapped_column(Text)
    mime_type: Mapped[str]
    size_bytes: Mapped[int]
    file_expires_after_seconds: Mapped[int | None]
    status: Mapped[UploadStatus] = mapped_column(Text, server_default="pending")
    part_ids: Mapped[list[str] | None]
    md5: Mapped[str | None]
    file_id: Mapped[str | None]
    created_at: Mapped[dt.datetime] = now()
    expires_at: Mapped[dt.datetime]


class UploadPart(Base):
    """One part of an upload. The row exists as long as the object under `storage_key`."""

    __tablename__ = "upload_parts"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "upload_id"], ["uploads.project_id", "uploads.id"]),
        CheckConstraint("size_bytes > 0", name="size"),
        Index("ix_upload_parts_upload", "upload_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    upload_id: Mapped[str]
    size_bytes: Mapped[int]
    storage_key: Mapped[str]
    created_at: Mapped[dt.datetime] = now()


class FileReport(Leased, Base):
    """A dataset's report for one encoding and one token limit, and the leased work of making it."""

    __tablename__ = "file_reports"
    __table_args__ = (
        UniqueConstraint("file_id", "encoding", "max_tokens"),
        ForeignKeyConstraint(["project_id", "file_id"], ["files.project_id", "files.id"]),
        CheckConstraint("status IN ('pending', 'ready')", name="status"),
        CheckConstraint("(status = 'ready') = (report IS NOT NULL)", name="ready"),
        Index("ix_file_reports_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index(
            "ix_file_reports_project_due",
            "project_id",
            text("due_at NULLS FIRST"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    file_id: Mapped[str]
    model: Mapped[str]
    encoding: Mapped[str]
    max_tokens: Mapped[int]
    status: Mapped[ReportStatus] = mapped_column(Text, server_default="pending")
    progress_bytes: Mapped[int] = mapped_column(server_default="0")
    report: Mapped[dict[str, Any] | None]
    created_at: Mapped[dt.datetime] = now()


class LeakageReport(Leased, Base):
    """What a validation file shares with a training file, and the leased work of finding it. One for each pair."""

    __tablename__ = "leakage_reports"
    __table_args__ = (
        UniqueConstraint("training_file_id", "validation_file_id"),
        ForeignKeyConstraint(["project_id", "training_file_id"], ["files.project_id", "files.id"]),
        ForeignKeyConstraint(["project_id", "validation_file_id"], ["files.project_id", "files.id"]),
        CheckConstraint("status IN ('pending', 'ready')", name="status"),
        CheckConstraint("(status = 'ready') = (result IS NOT NULL)", name="ready"),
        Index("ix_leakage_reports_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index(
            "ix_leakage_reports_project_due",
            "project_id",
            text("due_at NULLS FIRST"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index("ix_leakage_reports_validation", "validation_file_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    training_file_id: Mapped[str]
    validation_file_id: Mapped[str]
    status: Mapped[ReportStatus] = mapped_column(Text, server_default="pending")
    progress_bytes: Mapped[int] = mapped_column(server_default="0")
    result: Mapped[dict[str, Any] | None]
    created_at: Mapped[dt.datetime] = now()


class DatasetPreparation(Leased, Base):
    """The preparation of a file as training data: the request and its outcome (see `datasets/preparation/run.py`)."""

    __tablename__ = "dataset_preparations"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "input_file_id"], ["files.project_id", "files.id"]),
        ForeignKeyConstraint(["project_id", "training_file_id"], ["files.project_id", "files.id"]),
        ForeignKeyConstraint(["project_id", "validation_file_id"], ["files.project_id", "files.id"]),
        CheckConstraint("status IN ('pending', 'running', 'succeeded', 'failed', 'cancelled')", name="status"),
        CheckConstraint("(status IN ('pending', 'running')) = (finished_at IS NULL)", name="finished"),
        CheckConstraint("finished_at IS NULL OR due_at IS NULL", name="ended"),
        CheckConstraint("(status = 'succeeded') = (training_file_id IS NOT NULL)", name="has_output"),
        CheckConstraint("(status = 'succeeded') = (outcome IS NOT NULL)", name="has_outcome"),
        CheckConstraint("(changes_key IS NULL) = (changes_size_bytes IS NULL)", name="changes"),
        CheckConstraint("(status = 'failed') = (error_code IS NOT NULL)", name="has_error"),
        Index("ix_dataset_preparations_project", "project_id", text("id DESC NULLS LAST")),
        Index("ix_dataset_preparations_input", "input_file_id"),
        Index(
            "ix_dataset_preparations_training",
            "training_file_id",
            postgresql_where=text("training_file_id IS NOT NULL"),
        ),
        Index(
            "ix_dataset_preparations_validation",
            "validation_file_id",
            postgresql_where=text("validation_file_id IS NOT NULL"),
        ),
        Index("ix_dataset_preparations_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index(
            "ix_dataset_preparations_project_due",
            "project_id",
            text("due_at NULLS FIRST"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    input_file_id: Mapped[str]
    input_size_bytes: Mapped[int]
    model: Mapped[str]
    options: Mapped[dict[str, Any]]
    status: Mapped[PreparationStatus] = mapped_column(Text, server_default="pending")
    progress_bytes: Mapped[int] = mapped_column(server_default="0")
    training_file_id: Mapped[str | None]
    validation_file_id: Mapped[str | None]
    changes_key: Mapped[str | None]
    changes_size_bytes: Mapped[int | None]
    outcome: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    error_param: Mapped[str | None]
    created_at: Mapped[dt.datetime] = now()
    finished_at: Mapped[dt.datetime | None]
