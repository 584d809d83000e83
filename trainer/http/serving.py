"""Models loaded for answering."""

import threading
from collections import OrderedDict

from ..engines.steps import Engine, Model
from ..store import Store
from .catalogue_lookup import FoundModel
from .errors import ApiError

MAX_LOADED = 16


class Serving:
    """Loads weights on demand and keeps the most recent; safe to call from any thread."""

    def __init__(self, engine: Engine, store: Store) -> None:
        self.engine_name = engine.name
        self._engine, self._store = engine, store
        self._lock = threading.Lock()
        self._models: OrderedDict[str | None, Model] = OrderedDict()

    def model(self, found: FoundModel) -> Model:
        """The model of a name that exists; 404 when its weights were deleted in between."""
        with self._lock:
            ready = self._models.get(found.weights)
            if ready is None:
                ready = self._load(found)
                self._models[found.weights] = ready
            self._models.move_to_end(found.weights)
            if len(self._models) > MAX_LOADED:
                self._models.popitem(last=False)
            return ready

    def _load(self, found: FoundModel) -> Model:
        try:
            return self._engine.load(self._store.weights_path(found.weights) if found.weights else None)
        except FileNotFoundError:
            raise ApiError(
                404, f"The model {found.name!r} does not exist.", param="model", code="model_not_found"
            ) from None
