"""The catalogue of dataset checks. Importing this package registers every check of every module in it.

A new check is one decorated function in the module of its subject, or in a new module here: nothing else names it.
`python -m service.datasets.checks` writes `docs/checks.md`.
"""

from __future__ import annotations

import importlib
import pkgutil

from service.datasets.checks.registry import CHECKS, DATASET_CHECKS, FIXES

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    if not _module.startswith("__"):
        importlib.import_module(f"{__name__}.{_module}")

__all__ = ["CHECKS", "DATASET_CHECKS", "FIXES"]
