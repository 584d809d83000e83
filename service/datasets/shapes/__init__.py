"""Known shapes of rows that other tools write, such as ShareGPT's: how to recognise and convert each.

A shape is one module that declares a `Shape`; importing this package registers all.
"""

from service.datasets.shapes import sharegpt
from service.datasets.shapes.registry import SHAPES, CannotConvert, Joined, LeftOut, Shape, file_shape, shape_of

__all__ = ["SHAPES", "CannotConvert", "Joined", "LeftOut", "Shape", "file_shape", "shape_of", "sharegpt"]
