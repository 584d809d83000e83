"""Paths of the API, of parts that a user typed."""

from urllib.parse import quote

from cli.errors import Refused


def path_of(*parts: str) -> str:
    """A path of these parts, each of which stays one part, whatever characters it has. Raises `Refused`."""
    if not all(parts):
        raise Refused("An id or a name is empty.")
    return "/" + "/".join(quote(part, safe=":@") for part in parts)


def job_path(job_id: str, *more: str) -> str:
    """The path of a fine-tuning job, or of what it has. Raises `Refused`."""
    return path_of("fine_tuning", "jobs", job_id, *more)
