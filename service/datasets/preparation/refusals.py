"""The refusal of a file that cannot be prepared. Problems are collected, so that one refusal names several rows."""

from __future__ import annotations

from service.errors import TunegateError

MAX_SHOWN = 5


class PreparationRefused(TunegateError):
    """The input cannot be made into a dataset with these options. `message` says what to do, `param` is an option."""

    code = "invalid_input_file"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.param = param


class Problems:
    """Rows that cannot be prepared: all are counted, and the first five are described."""

    def __init__(self) -> None:
        self.count = 0
        self._shown: list[str] = []

    def add(self, place: str, message: str) -> None:
        """Record what is wrong with a row; `place` is its name, such as `row 17`."""
        self.count += 1
        if len(self._shown) < MAX_SHOWN:
            self._shown.append(f"{place}: {message.rstrip('.')}")

    def check(self) -> None:
        """Raises `PreparationRefused` if a problem was recorded."""
        if self.count:
            more = f" ({self.count:,} in all)" if self.count > len(self._shown) else ""
            raise PreparationRefused(f"{'; '.join(self._shown)}{more}.")
