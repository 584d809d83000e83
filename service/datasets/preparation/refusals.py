"""Why a file cannot be prepared: collected while it is read, so that one answer names several rows."""

from __future__ import annotations

from service.errors import TunegateError

SHOWN = 5


class PreparationRefused(TunegateError):
    """The input or the options do not make a dataset. `message` says what to do, `param` names an option at fault."""

    code = "invalid_input_file"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.param = param


class Problems:
    """Rows that stop a preparation: the first five in words, all of them counted."""

    def __init__(self) -> None:
        self.count = 0
        self._shown: list[str] = []

    def add(self, place: str, message: str) -> None:
        """Notes a row, such as `row 17`, and what is wrong with it."""
        self.count += 1
        if len(self._shown) < SHOWN:
            self._shown.append(f"{place}: {message.rstrip('.')}")

    def check(self) -> None:
        """Raises `PreparationRefused` if there was any."""
        if self.count:
            more = f" ({self.count:,} in all)" if self.count > len(self._shown) else ""
            raise PreparationRefused(f"{'; '.join(self._shown)}{more}.")
