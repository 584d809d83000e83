"""Types of options that several commands share."""

from typing import Annotated

from cyclopts import Parameter

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
AsJson = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]
Repeatable = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]
"""An option that is given once for each of its values."""
