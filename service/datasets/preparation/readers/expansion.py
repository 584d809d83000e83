"""How far compressed input may expand, counted while it does: sizes in headers are not believed."""

from service.datasets.preparation.refusals import PreparationRefused

MAX_RATIO = 250
"""Expanded by compressed bytes. Text compresses 3 to 20 times; rows that share a long system prompt up to 100."""

RATIO_FROM_BYTES = 16 << 20
"""Up to this size the ratio does not matter."""


class Expansion:
    """The bytes of one input before and after decompression. `what` names it, and `advice` says what to do."""

    def __init__(self, *, what: str, max_bytes: int, advice: str) -> None:
        self.compressed_bytes = self.expanded_bytes = 0
        self._what = what
        self._max_bytes = max_bytes
        self._advice = advice

    def add(self, expanded_bytes: int) -> None:
        """Count bytes after decompression. Raises `PreparationRefused`."""
        self.expanded_bytes += expanded_bytes
        if self.expanded_bytes > self._max_bytes:
            raise PreparationRefused(f"{self._what} unpacks to over {self._max_bytes:,} bytes; {self._advice}.")
        if self.expanded_bytes > max(RATIO_FROM_BYTES, MAX_RATIO * self.compressed_bytes):
            raise PreparationRefused(
                f"{self._what} unpacks to over {MAX_RATIO} times its size ({self.expanded_bytes:,} bytes so far); "
                f"{self._advice}, uncompressed."
            )
