"""Filters texts that are near duplicates of an earlier one, with the same sketches as the check of files. Pure."""

from service.datasets.duplicates.sketches import BANDS, bands, is_near, sketches
from service.datasets.parsing.formats import read_example


class NearDuplicateFilter:
    """The set of accepted texts."""

    def __init__(self) -> None:
        self._by_band: list[dict[bytes, list[int]]] = [{} for _ in range(BANDS)]
        self._sketches: list[bytes] = []
        self._exact: set[str] = set()

    def accept(self, text: str) -> bool:
        """Accept a text unless it nearly equals an accepted one. Returns whether it was accepted."""
        folded = " ".join(text.casefold().split())
        if folded in self._exact:
            return False
        sketch = sketches([read_example(0, {"messages": [{"role": "user", "content": text}]}, "chat")])
        keys = [band[0] for band in bands(sketch)]
        for accepted, key in zip(self._by_band, keys, strict=True):
            if any(is_near(sketch, self._sketches[place]) for place in accepted.get(key, ())):
                return False
        for accepted, key in zip(self._by_band, keys, strict=True):
            accepted.setdefault(key, []).append(len(self._sketches))
        self._sketches.append(sketch)
        self._exact.add(folded)
        return True
