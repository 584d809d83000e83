"""Imports numpy without its thread pool: a forked process has no copy of these threads and would wait for them."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

__all__ = ["NDArray", "np"]
