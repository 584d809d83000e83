"""Says in one line why Postgres cannot be used and what to do, for commands and for processes that start.

Some problems end when Postgres is back, and a process waits for that. The others (`Problem.lasting`) are wrong settings
or missing privileges: it ends at once, with the line. Anything else is a defect, and keeps its traceback.
"""

import inspect
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socket import gaierror

import asyncpg
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from service.database.sqlstates import sqlstate_of
from service.errors import SettingsError

OLDEST_POSTGRES = 15
"""The oldest major version that still gets fixes (postgresql.org/support/versioning)."""

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
PASSED_OPTIONS = frozenset(inspect.signature(asyncpg.connect).parameters) | {"sslmode"}
"""What a URL may have after its `?`: what asyncpg takes."""


class DatabaseUnusable(SettingsError):
    """Postgres cannot be used; the message says why and what to do, and contains no password."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why Postgres cannot be used. `lasting`: waiting does not help."""

    text: str
    lasting: bool = True


def check_url(url: str, *, variable: str = "DATABASE_URL") -> URL:
    """The parsed URL of a database. Raises `DatabaseUnusable` if it is missing or malformed."""
    example = "postgresql://user:password@host:5432/database"
    if not url:
        raise DatabaseUnusable(f"{variable} is not set. Set it to the Postgres of the gateway: {example}")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseUnusable(
            f"{variable} is not a URL like {example}. In user and password write %40 for @, %2F for / and %3A for :."
        ) from None
    if parsed.drivername not in SCHEMES:
        raise DatabaseUnusable(f"{variable} begins with {parsed.drivername}://, and must begin with postgresql://.")
    unknown = sorted(set(parsed.query) - PASSED_OPTIONS)
    if unknown:
        raise DatabaseUnusable(
            f"{variable} has the option {unknown[0]!r}, which the driver (asyncpg) does not have. Remove it."
        )
    if (mode := parsed.query.get("sslmode", "prefer")) not in SSL_MODES:
        raise DatabaseUnusable(f"{variable} has sslmode={mode}; it is one of {', '.join(SSL_MODES)}.")
    return parsed


@contextmanager
def in_words(url: str) -> Iterator[None]:
    """Raise `DatabaseUnusable` instead of the errors by which the database at `url` cannot be used."""
    try:
        yield
    except (DBAPIError, OSError) as error:
        problem = problem_of(error, url)
        if problem is None:
            raise
        raise DatabaseUnusable(problem.text) from None


def problem_of(error: Exception, url: str) -> Problem | None:
    """What an error means for the operator; None for one that a defect of Tunegate causes."""
    parsed = check_url(url)
    where = f"Postgres at {parsed.host or 'the local socket'}:{parsed.port or 5432}"
    if isinstance(error, DBAPIError):
        return _refusal(error, parsed, where)
    if isinstance(error, gaierror):
        return Problem(f"The host {parsed.host} of the database's URL has no address here. Check its name.", False)
    if isinstance(error, ssl.SSLError):
        return Problem(f"{where} has a certificate that cannot be verified ({error.reason}). Check sslmode in the URL.")
    if "rejected SSL upgrade" in str(error):
        return Problem(f"{where} has no TLS. Switch it on there, or leave out sslmode in the URL.")
    if isinstance(error, TimeoutError):
        return Problem(f"{where} does not answer in time. Check the host, the port and the firewall.", False)
    if isinstance(error, OSError):
        why = error.strerror or str(error) or type(error).__name__
        return Problem(f"{where} cannot be reached ({why}). Start it, or check the host and the port.", False)
    return None


def old_version(version: int) -> str | None:
    """Why a Postgres of this `server_version_num` is too old, or None."""
    if version >= OLDEST_POSTGRES * 10_000:
        return None
    return f"This is Postgres {version // 10_000}. Tunegate needs {OLDEST_POSTGRES} or newer: upgrade the server."


def _refusal(error: DBAPIError, url: URL, where: str) -> Problem | None:
    state, said = sqlstate_of(error), str(error.orig).partition("\n")[0].rpartition(">: ")[2]
    match state:
        case None:
            return Problem(f"{where} closes the connection: {said}", False)
        case "28P01" | "28000":
            return Problem(f"{where} refuses the login {url.username}: {said}. Check user and password of the URL.")
        case "3D000":
            return Problem(f"{where} has no database {url.database}. Create it (CREATE DATABASE), or correct the URL.")
        case "42501" if "set role" in said:
            return Problem(
                f"The login {url.username} may not use Tunegate's role. Run as the owner of the schema: "
                f"GRANT tunegate_service TO {url.username}"
            )
        case "42501" if "role" in said:
            return Problem(
                f"The login {url.username} lacks a privilege ({said}). The owner of the schema creates the role "
                "tunegate_service and grants it: give it CREATEROLE, or let an administrator run CREATE ROLE "
                f"tunegate_service; GRANT tunegate_service TO {url.username} WITH ADMIN OPTION"
            )
        case "42501":
            return Problem(
                f"The login {url.username} lacks a privilege ({said}). `tunegate migrate` needs the owner of the "
                "database; TUNEGATE_OWNER_DATABASE_URL names it."
            )
        case "42P06" | "42P07" | "42710" | "42723":
            return Problem(
                f"The database {url.database} has objects of another program ({said}). Give Tunegate a database of its "
                "own: CREATE DATABASE, and DATABASE_URL."
            )
        case "25006":
            return Problem(f"{where} is read-only, such as a replica. Give the URL of the primary server.")
        case "55P03" | "57014":
            return Problem(f"{where} is busy: {said}. Another session has locks. End it, or repeat this later.", False)
        case "53300":
            return Problem(f"{where} has no connection left: {said}. Raise max_connections, or close others.", False)
    if state.startswith(("08", "57P", "53")):
        return Problem(f"{where} does not serve now: {said}. Try again later.", False)
    return None
