"""The dataset checks. Importing this package imports all its modules, which registers their checks.

To add a check, write one decorated function in the module of its subject or in a new module here; no other file needs a
change. `python -m service.datasets.checks` prints `docs/checks.md`.
"""

from __future__ import annotations

import importlib
import pkgutil

from service.datasets.checks.registry import CHECKS, DATASET_CHECKS

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    if not _module.startswith("__"):
        importlib.import_module(f"{__name__}.{_module}")

__all__ = ["CHECKS", "DATASET_CHECKS"]
