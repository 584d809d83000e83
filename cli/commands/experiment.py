"""`tunegate experiment FILE`: trains several arms and recommends one."""

from cyclopts import App

from cli.arguments.experiment import Common, End, RunOptions, Varied
from cli.connection import Connection
from cli.options import AsJson
from cli.paths import path_of

experiment = App(name="experiment", help="Train variants under one budget; get the best one.")


@experiment.default
def create(
    file: str,
    /,
    *,
    varied: Varied = Varied(),
    common: Common = Common(),
    end: End = End(),
    run: RunOptions = RunOptions(),
    connection: Connection = Connection(),
) -> int:
    """Train several variants on a file under one budget, and recommend one.

    Uploads the file, shows its report and the price of all arms, asks for confirmation, creates the experiment and
    follows it. Exits with 0 if it succeeded (without --watch: was created), 1 if it failed, was cancelled or did not
    promote, 2 if it was refused or not confirmed, 130 after Ctrl-C, which leaves it running.

    Parameters
    ----------
    file
        A dataset in JSON Lines, or the id of one at the gateway.
    """
    from cli.experiments.create import create

    with connection.client() as client:
        return create(client, file, varied, common, end, run, options=connection.typed())


@experiment.command(name="list")
def list_experiments(*, limit: int = 20, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """List experiments, newest first.

    Parameters
    ----------
    limit
        How many to list.
    as_json
        Print nothing but the list as JSON.
    """
    from cli.experiments.show import show_experiments
    from cli.output import console, print_json

    with connection.client() as client:
        found = client.list("/fine_tuning/experiments", limit=limit)
    if as_json:
        print_json(found.as_object())
        return
    show_experiments(found.data, console())
    if found.has_more:
        console().print(f"There are more; --limit {2 * limit} lists more.", style="dim")


@experiment.command
def show(experiment_id: str, /, *, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """Show an experiment with its arms and its result.

    Parameters
    ----------
    experiment_id
        The experiment.
    as_json
        Print nothing but the experiment as JSON.
    """
    from cli.experiments.show import show_experiment
    from cli.output import console, print_json

    with connection.client() as client:
        found = client.get(path_of("fine_tuning", "experiments", experiment_id))
    if as_json:
        print_json(found)
    else:
        show_experiment(found, console())


@experiment.command(name="watch")
def follow(experiment_id: str, /, *, as_json: AsJson = False, connection: Connection = Connection()) -> int:
    """Follow an experiment until it has ended.

    Exits with 0 if it succeeded, 1 if it failed, was cancelled or did not promote, 130 after Ctrl-C, which leaves it
    running.

    Parameters
    ----------
    experiment_id
        The experiment.
    as_json
        Print nothing but the experiment as JSON, when it has ended.
    """
    from cli.experiments.follow import follow_experiment
    from cli.interruption import interruptible

    with connection.client() as client, interruptible() as interrupted:
        return follow_experiment(client, experiment_id, interrupted, as_json=as_json, options=connection.typed())


@experiment.command
def cancel(experiment_id: str, /, *, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """Cancel an experiment with its unfinished arms.

    Parameters
    ----------
    experiment_id
        The experiment.
    as_json
        Print nothing but the experiment as JSON.
    """
    from cli.output import print_json

    with connection.client() as client:
        found = client.post(path_of("fine_tuning", "experiments", experiment_id, "cancel"))
    if as_json:
        print_json(found)
    else:
        print(f"{found['id']} is {found['status']}.")
