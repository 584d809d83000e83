"""Why a command ends without its result: each is one line at the terminal, and exit status 2."""


class Refused(Exception):
    """The gateway or the command refuses; the message says why. `status` is that of the response, if there was one."""

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Unreachable(Refused):
    """The gateway does not respond; the same request may succeed later."""


class ReportPending(Refused):
    """The file's report is not ready yet; the same request succeeds later."""
