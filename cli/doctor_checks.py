"""One check of `tunegate doctor`, and what to do about what `/readyz` reports."""

from dataclasses import dataclass

REMEDIES = {
    "database": "The gateway cannot use Postgres: run `tunegate doctor` where DATABASE_URL is set.",
    "schema": "Run `tunegate migrate` as the owner of the schema.",
    "master_key": "Set the TUNEGATE_MASTER_KEY under which the secrets were stored.",
    "storage": "Check TUNEGATE_STORAGE_URL, the credential of its store, and the disk.",
    "redis": "Check REDIS_URL and the server. Work starts up to a second later, and each process counts alone.",
    "reconciler": "Start `tunegate worker`, or look into its log: without it no job goes on.",
}
"""What to do, by the field of `/readyz`."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: whether it is well, what was found, and what to do if it is not."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
