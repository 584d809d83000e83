"""Labels on the jobs and files that the gateway creates upstream, by which it finds them after a lost response. Pure.

A job has exactly three metadata keys. At an upstream without job metadata, the name of the training file contains the
first two, and the file is uploaded for that job alone.
"""

import hashlib
import re
from collections.abc import Mapping

GATEWAY = "tunegate_gateway"
JOB = "tunegate_job"
ATTEMPT = "tunegate_attempt"

_JOB_FILE_NAME = re.compile(r"tunegate-(?P<gateway>[^/.]+?)-(?P<job>ftjob-[^/.]+?)-[0-9a-f]{16}\.jsonl")


def labels(gateway: str, job_id: str, attempt: int) -> dict[str, str]:
    """The metadata of an upstream job. The caller's own metadata is not sent upstream."""
    return {GATEWAY: gateway, JOB: job_id, ATTEMPT: str(attempt)}


def attempt_of(metadata: Mapping[str, str]) -> int:
    """The number of the attempt that created an upstream job, from its label; 0 without one."""
    label = metadata.get(ATTEMPT, "")
    return int(label) if label.isdecimal() and len(label) < 10 else 0


def shared_file_name(gateway: str, project_id: str, sha256: str) -> str:
    """The name of an upstream file that all jobs of a project with this content share.

    Files are found and deleted by name, so the name differs between projects and gateways that share an account.
    """
    owner = hashlib.sha256(f"{gateway}/{project_id}".encode()).hexdigest()[:16]
    return f"tunegate-{sha256}-{owner}.jsonl"


def job_file_name(gateway: str, job_id: str, sha256: str) -> str:
    """The name of an upstream file that belongs to one job."""
    return f"tunegate-{gateway}-{job_id}-{sha256[:16]}.jsonl"


def upstream_file_name(gateway: str, project_id: str, content: str) -> str:
    """The name of an upstream file, by its row's `sha256`: a digest, with `/` and the job's id in a job's own file."""
    sha256, _, job_id = content.partition("/")
    return job_file_name(gateway, job_id, sha256) if job_id else shared_file_name(gateway, project_id, sha256)


def labels_of_name(filename: str) -> dict[str, str] | None:
    """The labels in the name of one job's own file, or None for any other name."""
    match = _JOB_FILE_NAME.fullmatch(filename)
    return {GATEWAY: match["gateway"], JOB: match["job"]} if match else None
