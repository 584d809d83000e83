"""The names of what jobs refer to: files, and the key or service account that created them. For a page in one query.

A deleted file, key or service account keeps its row, and so its name, until its project is deleted.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from sqlalchemy import ARRAY, Text, any_, bindparam, null, select, union_all

from service.database.reads import Query, Reader
from service.database.tables import ApiKey, File, ServiceAccount


class JobNames(NamedTuple):
    """The names of a job's files, its key, and the service account of the key; None where there is none."""

    training_file: str | None = None
    validation_file: str | None = None
    key: str | None = None
    service_account_id: str | None = None
    service_account: str | None = None


class References(Protocol):
    """What a job refers to."""

    @property
    def id(self) -> str:
        """The job's id."""

    @property
    def training_file_id(self) -> str:
        """A file's id."""

    @property
    def validation_file_id(self) -> str | None:
        """A file's id."""

    @property
    def api_key_id(self) -> str | None:
        """A key's id; None for a job that an operator created."""


class _Named(NamedTuple):
    id: str
    name: str
    service_account_id: str | None
    service_account: str | None


async def names_of(reader: Reader, project_id: str, jobs: Iterable[References]) -> dict[str, JobNames]:
    """The names of what the project's jobs refer to, by the job's id."""
    jobs = list(jobs)
    files = {file_id for job in jobs for file_id in (job.training_file_id, job.validation_file_id) if file_id}
    keys = {job.api_key_id for job in jobs if job.api_key_id}
    rows = await reader.all(_NAMES, project_id=project_id, files=sorted(files), keys=sorted(keys)) if jobs else []
    named = {row.id: row for row in rows}
    return {job.id: _names(job, named) for job in jobs}


def _names(job: References, named: dict[str, _Named]) -> JobNames:
    training, validation = named.get(job.training_file_id), named.get(job.validation_file_id or "")
    key = named.get(job.api_key_id or "")
    return JobNames(
        training_file=None if training is None else training.name,
        validation_file=None if validation is None else validation.name,
        key=None if key is None else key.name,
        service_account_id=None if key is None else key.service_account_id,
        service_account=None if key is None else key.service_account,
    )


_PROJECT: Any = bindparam("project_id")
_NAMES = Query(
    _Named,
    union_all(
        select(File.id, File.filename, null(), null()).where(
            File.project_id == _PROJECT, File.id == any_(bindparam("files", type_=ARRAY(Text)))
        ),
        select(ApiKey.id, ApiKey.name, ServiceAccount.id, ServiceAccount.name)
        .outerjoin(
            ServiceAccount,
            (ServiceAccount.project_id == ApiKey.project_id) & (ServiceAccount.id == ApiKey.service_account_id),
        )
        .where(ApiKey.project_id == _PROJECT, ApiKey.id == any_(bindparam("keys", type_=ARRAY(Text)))),
    ),
)
