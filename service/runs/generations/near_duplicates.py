"""Which texts are nearly the same as an earlier one, by the sketches that find near duplicates in files. Pure."""

from service.datasets.duplicates.sketches import BANDS, bands, is_near, sketches
from service.datasets.parsing.formats import read_example


class Alike:
    """The texts that were kept so far."""

    def __init__(self) -> None:
        self._by_band: list[dict[bytes, list[int]]] = [{} for _ in range(BANDS)]
        self._sketches: list[bytes] = []
        self._exact: set[str] = set()

    def keep(self, text: str) -> bool:
        """Keep a text unless an earlier one is nearly the same. Whether it was kept."""
        folded = " ".join(text.casefold().split())
        if folded in self._exact:
            return False
        sketch = sketches([read_example(0, {"messages": [{"role": "user", "content": text}]}, "chat")])
        keys = [band[0] for band in bands(sketch)]
        for kept, key in zip(self._by_band, keys, strict=True):
            if any(is_near(sketch, self._sketches[place]) for place in kept.get(key, ())):
                return False
        for kept, key in zip(self._by_band, keys, strict=True):
            kept.setdefault(key, []).append(len(self._sketches))
        self._sketches.append(sketch)
        self._exact.add(folded)
        return True
