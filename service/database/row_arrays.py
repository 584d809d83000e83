"""Rows as the parameters of one statement: an array for each column, which `unnest` makes rows of again.

The statement's text is the same for any number of rows, so it is compiled and prepared once, unlike `VALUES`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, TableValuedAlias, bindparam, column, func
from sqlalchemy.types import TypeEngine

_PREFIX = "each_"
"""Of the parameters' names: SQLAlchemy takes a parameter that is named like a column for a value of that column."""


def rows_of(name: str, types: Mapping[str, TypeEngine[Any]]) -> TableValuedAlias:
    """The rows of `parameters` with these columns, as a table of a statement."""
    arrays = (bindparam(_PREFIX + column_name, type_=ARRAY(type_)) for column_name, type_ in types.items())
    columns = (column(column_name, type_) for column_name, type_ in types.items())
    return func.unnest(*arrays).table_valued(*columns).render_derived(name=name)


def parameters(types: Mapping[str, TypeEngine[Any]], rows: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    """The parameters for `rows_of` the same types."""
    return {_PREFIX + name: [row[name] for row in rows] for name in types}
