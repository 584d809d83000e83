"""Creates an experiment: reports, price, confirmation, and its progress."""

from rich.text import Text

from cli import output
from cli.arguments.experiment import Common, End, RunOptions, Varied
from cli.checked_files import checked_pair, post_when_checked
from cli.client import Client
from cli.confirmation import confirm
from cli.errors import Refused
from cli.experiments.follow import follow_experiment
from cli.experiments.request import comparison_of, experiment_body
from cli.experiments.show import show_quote
from cli.interruption import interruptible
from cli.output import dollars, print_json
from cli.paths import path_of
from cli.uploads import uploaded

EXIT_OK, EXIT_NOT_ALLOWED = 0, 1
PATH = "/fine_tuning/experiments"


def create(
    client: Client, file: str, varied: Varied, common: Common, end: End, run: RunOptions, *, options: str
) -> int:
    """Upload and check the files, then quote, confirm, create and follow the experiment. Returns the exit status.

    `options` select the gateway in the commands that are printed. Raises `Refused`.
    """
    console = output.console(stderr=run.as_json)
    body = experiment_body(varied, common, end)
    for model in varied.models:
        client.get(path_of("models", model))  # refuses an unknown model before anything is uploaded
    body |= checked_pair(client, file, common.valid, console, model=body["model"])
    if end.compare is not None:
        body["comparison"] = comparison_of(end, uploaded(client, end.compare, console))
    quote = post_when_checked(client, f"{PATH}/quotes", body)
    if run.quote and run.as_json:
        print_json(quote)
    else:
        show_quote(quote, console)
    if run.quote:
        return EXIT_OK if quote["allowed"] else EXIT_NOT_ALLOWED
    if not quote["allowed"]:
        raise Refused(" ".join(["The experiment is not allowed.", *quote["reasons"]]))
    arms = f"{len(quote['arms'])} arm{'' if len(quote['arms']) == 1 else 's'}"
    confirm(f"Train {arms} for at most {dollars(quote['budget'])}?", yes=run.yes)
    follows = console.is_terminal and not run.as_json if run.follow is None else run.follow
    with interruptible() as interrupted:
        experiment = client.post(PATH, body)
        console.print(Text.assemble("Created ", (experiment["id"], "bold")), soft_wrap=True)
        if follows:
            return follow_experiment(client, experiment["id"], interrupted, as_json=run.as_json, options=options)
    if run.as_json:
        print_json(experiment)
    else:
        console.print(f"  tunegate experiment watch {experiment['id']}{options}   shows its progress", soft_wrap=True)
    return EXIT_OK
