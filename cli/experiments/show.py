"""How experiments are printed: as a list, as a table of their arms, and with their result."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.output import (
    Cell,
    Column,
    dollars,
    duration,
    moment,
    number,
    print_fields,
    print_table,
    printable,
    status,
    verdict_name,
)

LIST_COLUMNS = (
    Column("id", whole=True),
    Column("status"),
    Column("created", spare=True),
    Column("arms", "right"),
    Column("varied", fold=True),
    Column("cost", "right"),
    Column("best", "right"),
    Column("model", whole=True, spare=True),
)
SHORT = {"n_epochs": "epochs", "learning_rate_multiplier": "rate", "data_share": "data", "batch_size": "batch"}
"""The settings of an arm by their titles in a table, where those differ."""


def show_experiments(experiments: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print experiments as a table."""
    rows = [
        (
            each["id"],
            status(each["status"]),
            moment(each["created_at"]),
            str(len(each["arms"])),
            ", ".join(each["varied"]),
            dollars(each["cost"]),
            *_recommended(each),
        )
        for each in experiments
    ]
    print_table(LIST_COLUMNS, rows, console, empty="There are no experiments.")


def show_experiment(experiment: Mapping[str, Any], console: Console) -> None:
    """Print an experiment: what it is, its arms, and its result as far as there is one."""
    print_fields(_fields(experiment), console)
    console.print()
    columns, rows = arms_table(experiment)
    print_table(columns, rows, console, empty="It has no arms.")
    for line in conclusions(experiment):
        console.print()
        console.print(line, soft_wrap=True)


def arms_table(experiment: Mapping[str, Any]) -> tuple[list[Column], list[list[Cell]]]:
    """The arms with what they vary, their status and figures. The recommended arm is marked with `→`."""
    varied: list[str] = experiment["varied"]
    titles = [Column(SHORT.get(name, name), "right" if name != "model" else "left", fold=True) for name in varied]
    figures = (Column("loss", "right"), Column("valid", "right"), Column("score", "right"))
    ends = (Column("cost", "right"), Column("time", "right"), Column("remark", fold=True))
    best = (experiment["recommended"] or {}).get("arm")
    rows: list[list[Cell]] = []
    for arm in experiment["arms"]:
        losses = arm["metrics_summary"]
        rows.append(
            [
                f"{'→ ' if arm['arm'] == best else ''}{arm['arm']}",
                *(_setting(name, arm["settings"][name]) for name in varied),
                f"{arm['examples']:,}",
                status(arm["status"]),
                _loss(losses["train_loss"], "final"),
                _loss(losses["valid_loss"], "best"),
                _estimate(arm["score"]),
                dollars(arm["cost"]),
                duration(arm["duration_seconds"]),
                arm["reason"] or verdict_name((arm["verdict"] or {}).get("kind", "")),
            ]
        )
    return [Column("arm", "right"), *titles, Column("examples", "right"), Column("status"), *figures, *ends], rows


def conclusions(experiment: Mapping[str, Any]) -> Iterator[Text]:
    """What the experiment says: its error, the recommended arm, the comparison, the promotion, the data scaling."""
    if (error := experiment["error"]) is not None:
        yield Text(printable(error["message"]), style="red")
    if (found := experiment["recommended"]) is not None:
        model = f": {found['model']}" if found["model"] else ""
        title = "No arm is recommended. " if found["arm"] is None else f"Recommended: arm {found['arm']}{model}\n"
        yield Text(title, style="bold").append(printable(found["reason"]), style="not bold")
    if (comparison := experiment["comparison"]) is not None and comparison["reason"]:
        yield Text(f"Comparison: {printable(comparison['reason'])}")
    if (promotion := experiment["promotion"]) is not None and promotion["status"] != "pending":
        reason = f": {promotion['reason']}" if promotion["reason"] else ""
        yield Text(printable(f"The alias {promotion['alias']} was {promotion['status']}{reason}"))
    if (scaling := experiment["data_scaling"]) is not None:
        yield Text("More data: ", style="bold").append(printable(scaling["message"]), style="not bold")


def show_quote(quote: Mapping[str, Any], console: Console) -> None:
    """Print the arms of a quote with their prices, and what is left of the budget."""
    varied: list[str] = quote["varied"]
    titles = [Column(SHORT.get(name, name), "right" if name != "model" else "left", fold=True) for name in varied]
    columns = [Column("arm", "right"), *titles, Column("examples", "right"), Column("tokens", "right")]
    columns.append(Column("at most", "right"))
    rows = [
        [
            str(arm["arm"]),
            *(_setting(name, arm["settings"][name]) for name in varied),
            f"{arm['examples']:,}",
            number(arm["billable_tokens"]),
            dollars(arm["price"]["upper"]),
        ]
        for arm in quote["arms"]
    ]
    console.print()
    print_table(columns, rows, console, empty="The experiment has no arms.")
    console.print()
    comparison = quote["comparison"]
    fields = [
        ("  price", f"{dollars(quote['price']['expected'])} expected, {dollars(quote['price']['upper'])} at most"),
        ("  of which the comparison", None if comparison is None else f"{dollars(comparison['upper'])} at most"),
        ("  budget", dollars(quote["budget"])),
        ("  left this month", dollars(quote["remaining_budget"])),
    ]
    print_fields(fields, console)
    for warning in quote["warnings"]:
        console.print(Text(f"  ! {printable(warning)}", style="yellow"), soft_wrap=True)
    for reason in quote["reasons"]:
        console.print(Text(f"  ✗ {printable(reason)}", style="red"), soft_wrap=True)
    console.print()


def _fields(experiment: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    yield "id", experiment["id"]
    yield "status", status(experiment["status"])
    yield "waits", experiment["waiting_reason"]
    yield "training file", experiment["training_file"]
    yield "validation file", experiment["validation_file"]
    yield "created", moment(experiment["created_at"])
    yield "finished", moment(experiment["finished_at"])
    spent = f"{dollars(experiment['cost'])} of {dollars(experiment['budget'])}"
    reserved = dollars(experiment["reserved"]) if experiment["reserved"]["value"] else None
    yield "cost", spent + (f", {reserved} reserved" if reserved is not None else "")
    if (rule := experiment["early_stopping"]) is not None:
        yield (
            "early stopping",
            ", ".join(str(value) if name == "rule" else f"{name} {value}" for name, value in rule.items()),
        )
    yield "metadata", ", ".join(f"{name}={value}" for name, value in (experiment["metadata"] or {}).items())


def _recommended(experiment: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The arm, and its model."""
    found = experiment["recommended"]
    return (None, None) if found is None or found["arm"] is None else (f"arm {found['arm']}", found["model"])


def _setting(name: str, value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.0%}" if name == "data_share" else str(value)


def _loss(summary: Mapping[str, Any] | None, which: str) -> str | None:
    return None if summary is None else f"{summary[which]:.4f}"


def _estimate(figure: Mapping[str, Any] | None) -> str | None:
    if figure is None or figure["value"] is None:
        return None
    return f"{figure['value']:.2f}" + ("" if figure["low"] is None else f" [{figure['low']:.2f}, {figure['high']:.2f}]")
