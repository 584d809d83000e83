"""The refusal of a file that cannot be prepared. Problems are collected, so that one refusal names several rows."""

from __future__ import annotations

from service.datasets.preparation.changes import ChangeLog
from service.errors import TunegateError

MAX_SHOWN = 5


class PreparationRefused(TunegateError):
    """The input cannot be made into a dataset with these options. `message` says what to do, `param` is an option.

    Messages, and the notes of a preparation, write "the option `name`" with a name of the API, and "the fix name": the
    command line puts its own options and commands in their place (`cli.advice`).
    """

    code = "invalid_input_file"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.param = param


class Problems:
    """Rows that cannot be prepared: all are counted, and the first five are described.

    With `drop_unreadable`, a row that cannot be read is dropped and recorded in the diff instead; `rows_dropped` counts
    those that were dropped before they were rows of the source.
    """

    def __init__(self, log: ChangeLog, *, drop_unreadable: bool) -> None:
        self.count = 0
        self.rows_dropped = 0
        self._log = log
        self._drop_unreadable = drop_unreadable
        self._shown: list[str] = []
        self._unreadable = False

    def add(self, place: str, message: str) -> None:
        """Record what is wrong with the input; `place` is a name such as `row 17`."""
        self.count += 1
        if len(self._shown) < MAX_SHOWN:
            self._shown.append(f"{place}: {message.rstrip('.')}")

    def unreadable(self, unit: str, number: int, content: object, message: str, *, counted: bool = False) -> None:
        """Record a row that cannot be read. `counted` says that the source has counted it as a row already."""
        if not self._drop_unreadable:
            self.add(f"{unit} {number}", message)
            self._unreadable = True
            return
        self.rows_dropped += not counted
        self._log.dropped("drop_unreadable", number, content, f"{message[0].upper()}{message[1:].rstrip('.')}.")

    def check(self, *, are_rows_left: bool = True) -> None:
        """Raises `PreparationRefused` if a problem was recorded. Where no row is left, none can be left out."""
        if self.count:
            more = f" ({self.count:,} in all)" if self.count > len(self._shown) else ""
            fix = (
                " The fix drop_unreadable leaves out what cannot be read." if self._unreadable and are_rows_left else ""
            )
            raise PreparationRefused(f"{'; '.join(self._shown)}{more}.{fix}")
