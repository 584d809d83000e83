"""Model aliases at the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from cli.output import Column, moment, print_json, print_table, printable

COLUMNS = (Column("alias"), Column("model", whole=True), Column("version", "right"), Column("changed", spare=True))
HISTORY = (
    Column("version", "right"),
    Column("model", whole=True),
    Column("action"),
    Column("by", fold=True, spare=True),
    Column("when", spare=True),
    Column("reason", fold=True),
)


def show_aliases(aliases: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print aliases as a table."""
    rows = [(each["name"], each["model"], str(each["version"]), moment(each["updated_at"])) for each in aliases]
    print_table(COLUMNS, rows, console, empty="There are no aliases.")


def show_alias(alias: Mapping[str, Any], *, as_json: bool) -> None:
    """Print where an alias points now."""
    if as_json:
        print_json(alias)
    else:
        print(printable(f"{alias['name']} is {alias['model']}, version {alias['version']}."))


def show_promotions(promotions: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print the history of an alias as a table."""
    rows = [
        (
            str(each["version"]),
            each["model"],
            each["action"],
            each["by"]["id"],
            moment(each["created_at"]),
            each["reason"],
        )
        for each in promotions
    ]
    print_table(HISTORY, rows, console, empty="The alias has no history.")
