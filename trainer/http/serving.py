"""Models loaded for answering."""

import threading
from collections import OrderedDict

from ..engines.port import Engine, Model
from ..weights_cache import WeightsCache
from .catalogue_lookup import FoundModel
from .errors import ApiError

MAX_LOADED = 16


class Serving:
    """Loads weights on demand and keeps the most recent; safe to call from any thread."""

    def __init__(self, engine: Engine, weights: WeightsCache) -> None:
        self._engine, self._weights = engine, weights
        self._lock = threading.Lock()
        self._models: OrderedDict[tuple[str, str | None], Model] = OrderedDict()

    def model(self, found: FoundModel) -> Model:
        """The model of a name that exists; 404 when its weights were deleted in between."""
        key = (found.base, found.weights)
        with self._lock:
            ready = self._models.get(key)
            if ready is None:
                ready = self._load(found)
                self._models[key] = ready
            self._models.move_to_end(key)
            if len(self._models) > MAX_LOADED:
                self._models.popitem(last=False)
            return ready

    def _load(self, found: FoundModel) -> Model:
        try:
            weights = self._weights.folder(found.weights) / "model" if found.weights else None
            return self._engine.load(found.base, weights)
        except FileNotFoundError:
            raise ApiError(
                404, f"The model {found.name!r} does not exist.", param="model", code="model_not_found"
            ) from None
