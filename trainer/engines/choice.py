"""The one place that chooses an engine."""

from pathlib import Path

from .bytemodel.engine import ByteEngine
from .steps import Engine


def make_engine(data_dir: Path) -> Engine:
    """The engine of a data directory; `prepare` it before use."""
    return ByteEngine(data_dir / "weights")
