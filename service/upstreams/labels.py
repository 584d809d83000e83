"""Our marks on what we make upstream, by which it is found again after a lost answer. Pure.

A job carries exactly three keys of metadata. Where an upstream keeps none, its training file carries the first two in
its name, and is uploaded for that job alone.
"""

import hashlib
import re
from collections.abc import Mapping

GATEWAY = "tunegate_gateway"
JOB = "tunegate_job"
ATTEMPT = "tunegate_attempt"

_OF_JOB = re.compile(r"tunegate-(?P<gateway>[^/.]+?)-(?P<job>ftjob-[^/.]+?)-[0-9a-f]{16}\.jsonl")


def labels(gateway: str, job_id: str, attempt: int) -> dict[str, str]:
    """The metadata of an upstream job; the caller's own stay with us."""
    return {GATEWAY: gateway, JOB: job_id, ATTEMPT: str(attempt)}


def attempt_of(metadata: Mapping[str, str]) -> int:
    """The attempt that made an upstream job, by its mark; 0 where it has none."""
    mark = metadata.get(ATTEMPT, "")
    return int(mark) if mark.isdecimal() and len(mark) < 10 else 0


def shared_file_name(gateway: str, project_id: str, sha256: str) -> str:
    """The name of a file that all jobs of a project with this content share.

    It is found again by its name, and deleted by it, so it tells projects and gateways apart that share an account.
    """
    owner = hashlib.sha256(f"{gateway}/{project_id}".encode()).hexdigest()[:16]
    return f"tunegate-{sha256}-{owner}.jsonl"


def job_file_name(gateway: str, job_id: str, sha256: str) -> str:
    """The name of a file that belongs to one job."""
    return f"tunegate-{gateway}-{job_id}-{sha256[:16]}.jsonl"


def upstream_file_name(gateway: str, project_id: str, content: str) -> str:
    """The name of an upstream copy by its row's `sha256`, which one job's own file ends with that job's id."""
    sha256, _, job_id = content.partition("/")
    return job_file_name(gateway, job_id, sha256) if job_id else shared_file_name(gateway, project_id, sha256)


def labels_of_name(filename: str) -> dict[str, str] | None:
    """The marks in the name of one job's file, or None for any other name."""
    found = _OF_JOB.fullmatch(filename)
    return {GATEWAY: found["gateway"], JOB: found["job"]} if found else None
