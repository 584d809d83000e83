"""The `tunegate` command. Each subcommand imports what it needs when it runs, so that none pays for the others."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from service.errors import SettingsError
from service.settings import Settings

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
GRACEFUL_SHUTDOWN_SECONDS = 20
"""How long requests under way, uploads too, may take after SIGTERM. A second signal cuts them."""

app = App(
    name="tunegate", help="A fine-tuning gateway: the official openai SDK is its client.", version_flags=["--version"]
)
keys = App(name="keys", help="Make keys.")
app.command(keys)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 failed (or errors found), 2 wrong usage or settings."""
    try:
        status = app(arguments, exit_on_error=False, result_action="return_value")
    except CycloptsError:
        sys.exit(EXIT_USAGE)  # cyclopts has said what is wrong
    except SettingsError as error:
        print(f"tunegate: {error}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    sys.exit(status if isinstance(status, int) else EXIT_OK)


@app.command
def serve(*, fd: Annotated[int | None, Parameter(show=False)] = None) -> None:
    """Serve the HTTP API on TUNEGATE_HOST and TUNEGATE_PORT.

    Parameters
    ----------
    fd
        A listening socket that was inherited, instead of the host and port of the settings.
    """
    import asyncio
    import socket

    import uvicorn

    from service.app import create_app
    from service.migrations import refuse_unfit

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            """uvicorn cuts at the second Ctrl-C only; a second SIGTERM means the same."""
            self.force_exit = self.should_exit
            super().handle_exit(sig, frame)

    settings = _settings()
    sockets = None if fd is None else [socket.socket(fileno=fd)]
    port = sockets[0].getsockname()[1] if sockets else settings.port
    if settings.upstream_is_self(port):
        raise SettingsError("OPENAI_BASE_URL points at this gateway itself: every job would create another one.")
    asyncio.run(refuse_unfit(settings, application="tunegate-api"))
    server = Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http="httptools",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
        )
    )
    server.run(sockets=sockets)


@app.command
def worker() -> None:
    """Do the work that the API accepted: uploads, creates, polls, deliveries."""
    import uvloop

    from workers.main import run

    settings = _settings()

    async def work() -> None:
        await run(settings)

    uvloop.run(work())


@app.command
def migrate() -> None:
    """Bring the database's schema up to date, as its owner (TUNEGATE_OWNER_DATABASE_URL, else DATABASE_URL)."""
    from service.migrations import head, upgrade

    upgrade(_settings())
    print(f"The schema is at revision {head()}.")


@app.command(name="audit")
def audit_(
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    ready_file: Path | None = None,
) -> int:
    """Prove the balances from the ledger, while the service runs.

    Exits with 0 if the books balance, 1 if anything drifts. The database is that of DATABASE_URL, or of --ready-file.

    Parameters
    ----------
    as_json
        Print nothing but the proof as JSON.
    ready_file
        The ready file of a running `tunegate dev`.
    """
    import asyncio
    import json

    from cli.audit import audit

    url = _settings().database_url if ready_file is None else json.loads(ready_file.read_text())["database_url"]
    return asyncio.run(audit(url, as_json=as_json))


@app.command
def openapi() -> None:
    """Print the API's description, as it stands in openapi.yaml."""
    from service.app import create_litestar
    from service.http.openapi import document, to_yaml

    print(to_yaml(document(create_litestar(Settings()))), end="")


@keys.command(name="project")
def project_key(
    name: str, /, *, project: str = "default", read_only: Annotated[bool, Parameter(negative="")] = False
) -> None:
    """Make a key for a project's resources and print it. It is shown this once.

    Parameters
    ----------
    name
        What the key is for, as shown in lists.
    project
        The name or id of the project it opens.
    read_only
        Whether it may only read.
    """
    import asyncio

    from service.projects.bootstrap import create_key
    from service.projects.callers import READ_ONLY

    scopes = [READ_ONLY] if read_only else []
    print(asyncio.run(create_key(_settings(), kind="project", name=name, project=project, scopes=scopes)))


@keys.command(name="admin")
def admin_key(name: str, /, *, read_only: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Make a key for the organisation's API and print it. It is shown this once.

    Parameters
    ----------
    name
        What the key is for, as shown in lists.
    read_only
        Whether it may only read.
    """
    import asyncio

    from service.projects.bootstrap import create_key
    from service.projects.callers import READ_ONLY

    print(asyncio.run(create_key(_settings(), kind="admin", name=name, scopes=[READ_ONLY] if read_only else [])))


@keys.command(name="master")
def master_key() -> None:
    """Print a new TUNEGATE_MASTER_KEY, which encrypts webhook secrets and upstream credentials at rest."""
    from cli.credentials import new_master_key

    print(new_master_key())


@keys.command(name="reseal")
def reseal_secrets() -> None:
    """Encrypt every stored secret under TUNEGATE_MASTER_KEY that is still under one of TUNEGATE_OLD_MASTER_KEYS."""
    import asyncio

    from service.db import Database, create_engine
    from service.doorbell import Doorbell
    from service.sealing import reseal, sealer_of

    settings = _settings()

    async def run() -> int:
        db = Database(create_engine(settings.database_url, pool_size=1), Doorbell(""))
        try:
            return await reseal(db, sealer_of(settings))
        finally:
            await db.close()

    print(
        f"{asyncio.run(run())} secrets were encrypted anew. Once every process runs with the new key, forget the old."
    )


@app.command
def check(
    file: Path,
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    model: str | None = None,
    validation: Path | None = None,
    profile: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Check a dataset without a server: every error with its line, token counts, prices.

    Exits with 0 if it is clean, 1 if it has errors or shares examples with the validation file, 2 if it cannot be read.

    Parameters
    ----------
    file
        The dataset, in JSON Lines.
    as_json
        Print nothing but the report as JSON.
    model
        The model to check and price it for. Default: the catalogue's.
    validation
        A validation file: say which of its examples stand in FILE too, the same, by their prompt, or nearly.
    profile
        Say on standard error how long each check took.
    """
    from cli.check import check_file

    return check_file(file, model=model, settings=_settings(), as_json=as_json, validation=validation, profile=profile)


@app.command
def deletions(*, retry: str | None = None, accept: str | None = None) -> int:
    """List what could not be deleted at an upstream, or see to it. Exits with 1 if anything is listed.

    Parameters
    ----------
    retry
        Try this deletion again; all of them with "all".
    accept
        Take this deletion as done, for what was removed by hand or is out of reach.
    """
    from cli.deletions import resolve_failed, show_failed

    if retry is not None and accept is not None:
        raise SettingsError("Give --retry or --accept, not both.")
    if retry is not None:
        return resolve_failed(_settings(), retry, accept=False)
    if accept is not None:
        return resolve_failed(_settings(), accept, accept=True)
    return show_failed(_settings())


@app.command
def prepare(
    file: Path,
    /,
    *,
    out: Path | None = None,
    system_prompt: str | None = None,
    columns: str | None = None,
    template: str | None = None,
    fix: str = "safe",
    tool_definitions: Literal["keep", "without_descriptions", "without_parameters", "without_definitions"] = "keep",
    validation: str | None = None,
    seed: int = 0,
    format: Literal["chat", "completion"] | None = None,
    model: str | None = None,
    force: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Make training data of a CSV, TSV, XLSX, JSON, JSON Lines or text file, without a server.

    Exits with 0 if it is clean, 1 if what it made has errors, 2 if nothing could be made.

    Parameters
    ----------
    file
        The input. It is only read.
    out
        The folder for the results. Default: the input's.
    system_prompt
        What every chat example without a system message begins with.
    columns
        Which column holds what, such as prompt=question,answer=reply. Default: guessed by their names.
    template
        The question with columns in braces, such as "{title}: {body}".
    fix
        safe, none, or names of fixes separated by commas (docs/checks.md).
    tool_definitions
        How much of the definitions of functions to keep; less of them costs fewer tokens (docs/preparations.md).
    validation
        How much to hold back for validation: 10% or 20.
    seed
        Decides which examples are held back.
    format
        What to make. Default: chat, or what the model or the input wants.
    model
        The model to prepare for: its limit of tokens and its format. Default: the catalogue's.
    force
        Write over results that are there.
    as_json
        Print nothing but the result as JSON.
    """
    from cli.prepare import Wishes, prepare_file

    wishes = Wishes(
        out=out,
        system_prompt=system_prompt,
        columns=columns,
        template=template,
        fix=fix,
        tool_definitions=tool_definitions,
        validation=validation,
        seed=seed,
        format=format,
        model=model,
        force=force,
        as_json=as_json,
    )
    return prepare_file(file, wishes, _settings())


@app.command(name="generate")
def generate_(
    *topics: str,
    topics_file: Path | None = None,
    n: int = 10,
    model: str | None = None,
    question_model: str | None = None,
    question_prompt: str | None = None,
    question_temperature: float | None = None,
    question_max_tokens: int | None = None,
    answer_model: str | None = None,
    answer_prompt: str | None = None,
    answer_temperature: float | None = None,
    answer_max_tokens: int | None = None,
    system_prompt: str | None = None,
    tools: Path | None = None,
    seed: int = 0,
    budget: float | None = None,
    concurrency: int | None = None,
    name: str | None = None,
    out: Path | None = None,
    yes: Annotated[bool, Parameter(negative="")] = False,
    watch: str | None = None,
    cancel: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    ready_file: Path | None = None,
) -> int:
    """Make a dataset at the gateway by asking models: topics, a question by one prompt, its answer by another.

    The gateway and the key are those of OPENAI_BASE_URL and OPENAI_API_KEY, or of --ready-file. Exits with 0 if all was
    made, 1 if it ended early, 2 if it was refused or not begun, 130 after Ctrl-C, which leaves it running.

    Parameters
    ----------
    topics
        What the examples are about.
    topics_file
        More topics, one a line.
    n
        Examples of each topic.
    model
        The model that is asked, unless a step names its own.
    question_model
        The model that writes the questions.
    question_prompt
        The prompt for a question; {topic}, {number}, {n} and {angle} stand for what they say.
    question_temperature
        Its temperature. Default: 1.
    question_max_tokens
        Its limit. Default: 200.
    answer_model
        The model that answers.
    answer_prompt
        What it is told besides the system prompt.
    answer_temperature
        Its temperature. Default: the model's.
    answer_max_tokens
        Its limit. Default: 800; an answer that is cut is asked once more with a larger one.
    system_prompt
        What every example begins with.
    tools
        A JSON file with definitions of functions: the answers are calls of them.
    seed
        The same seed asks the same.
    budget
        Dollars that it may cost. Default: the quote's upper price.
    concurrency
        Calls at a time. Default: 8.
    name
        The file's name at the gateway.
    out
        Where to write the file here.
    yes
        Begin without being asked.
    watch
        The id of a generation whose progress is shown, instead of beginning one.
    cancel
        The id of a generation to stop.
    as_json
        Print nothing but the generation as JSON.
    ready_file
        The ready file of a running `tunegate dev`.
    """
    import cli.generate as generation
    from cli.gateway import Gateway

    gateway = Gateway.found(os.environ, ready_file)
    if cancel is not None:
        return generation.cancel(gateway, cancel)
    if watch is not None:
        return generation.watch(gateway, watch, out=out, as_json=as_json)
    wishes = generation.Wishes(
        topics=topics,
        topics_file=topics_file,
        n=n,
        model=model,
        question={
            "model": question_model,
            "prompt": question_prompt,
            "temperature": question_temperature,
            "max_tokens": question_max_tokens,
        },
        answer={
            "model": answer_model,
            "prompt": answer_prompt,
            "temperature": answer_temperature,
            "max_tokens": answer_max_tokens,
        },
        system_prompt=system_prompt,
        tools=tools,
        seed=seed,
        budget=budget,
        concurrency=concurrency,
        name=name,
        out=out,
        yes=yes,
        as_json=as_json,
    )
    return generation.generate(gateway, wishes)


@app.command(name="compare")
def compare_(
    file: str = "",
    /,
    *,
    model: tuple[str, ...] = (),
    grader: tuple[str, ...] = (),
    max_examples: int | None = None,
    turn: Literal["last", "first"] | None = None,
    seed: int | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    stop: tuple[str, ...] = (),
    budget: float | None = None,
    concurrency: int | None = None,
    out: Path | None = None,
    must_beat: Annotated[bool, Parameter(negative="")] = False,
    yes: Annotated[bool, Parameter(negative="")] = False,
    watch: str | None = None,
    cancel: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    ready_file: Path | None = None,
) -> int:
    """Compare models at the gateway over the examples of a file: scores, wins, tokens and cost, side by side.

    The gateway and the key are those of OPENAI_BASE_URL and OPENAI_API_KEY, or of --ready-file. Exits with 0 if all was
    compared, 1 if it ended early, 2 if it was refused or not begun, 3 if the last model does not beat the first one
    (--must-beat), 130 after Ctrl-C, which leaves it running.

    Parameters
    ----------
    file
        A file in JSON Lines, which is uploaded, or the id of one at the gateway.
    model
        A model, an alias or a tuned model; several times. The first is what the others are compared with.
    grader
        exact, contains, json_equality, tool_calls, text_similarity, regular_expression=PATTERN, contains=TEXT,
        json_schema=FILE, judge=MODEL, or a grader as JSON; several times. Default: exact.
    max_examples
        How many examples are asked, chosen by the seed. Default: 200.
    turn
        Which answer of a conversation is asked for again. Default: the last.
    seed
        The same seed and inputs give the same result.
    temperature
        Default: 0.
    max_tokens
        The limit of each answer. Default: 512.
    stop
        What ends a completion; several times.
    budget
        Dollars that it may cost. Default: the quote's upper price.
    concurrency
        Calls at a time. Default: 8.
    out
        Where to write all answers with their marks: CSV for a name that ends in .csv, else JSON Lines.
    must_beat
        Exit with 3 unless the last model has a higher score than the first.
    yes
        Begin without being asked.
    watch
        The id of a comparison whose progress is shown, instead of beginning one.
    cancel
        The id of a comparison to stop.
    as_json
        Print nothing but the comparison as JSON.
    ready_file
        The ready file of a running `tunegate dev`.
    """
    import cli.compare as comparison
    from cli.gateway import Gateway

    gateway = Gateway.found(os.environ, ready_file)
    if cancel is not None:
        return comparison.cancel(gateway, cancel)
    wishes = comparison.Wishes(
        file=file,
        models=model,
        graders=grader,
        options={
            "max_examples": max_examples,
            "turn": turn,
            "seed": seed,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "stop": list(stop) or None,
            "budget": budget,
            "concurrency": concurrency,
        },
        out=out,
        must_beat=must_beat,
        yes=yes,
        as_json=as_json,
    )
    if watch is not None:
        return comparison.watch(gateway, watch, wishes)
    return comparison.compare(gateway, wishes)


@app.command
def dev(*, port: int | None = None, data_dir: Path = Path(".tunegate"), ready_file: Path | None = None) -> int:
    """Run the whole stack on this machine with embedded services, until Ctrl-C.

    DATABASE_URL, REDIS_URL, and OPENAI_BASE_URL with OPENAI_API_KEY, if set, replace the embedded parts.

    Parameters
    ----------
    port
        The API's port; 0 picks a free one. Default: TUNEGATE_PORT, else 8080.
    data_dir
        Where the data is kept; started again on it, the stack goes on where it was.
    ready_file
        A JSON file to write when the stack serves, with URLs, keys and pids.
    """
    from cli.dev import run_dev

    return run_dev(port=_settings().port if port is None else port, data_dir=data_dir, ready_file=ready_file)


@app.command(name="listen")
def listen_(*, forward_to: str, event_types: str | None = None, ready_file: Path | None = None) -> int:
    """Bring the project's webhook events to this machine, signed as the real ones, until Ctrl-C.

    The gateway and the key are those of OPENAI_BASE_URL and OPENAI_API_KEY, or of --ready-file.

    Parameters
    ----------
    forward_to
        Where every event is posted, such as http://127.0.0.1:3000/webhook.
    event_types
        Only these, separated by commas. Default: all.
    ready_file
        The ready file of a running `tunegate dev`.
    """
    from cli.gateway import Gateway
    from cli.listen import listen

    types = [name.strip() for name in (event_types or "").split(",") if name.strip()]
    return listen(Gateway.found(os.environ, ready_file), forward_to=forward_to, event_types=types)


@app.command(name="trigger")
def trigger_(event_type: str, /, *, endpoint: str | None = None, ready_file: Path | None = None) -> int:
    """Let a sample of an event happen: to whoever subscribed to its type or listens, or to one endpoint.

    Exits with 0 if it was taken, 1 if not.

    Parameters
    ----------
    event_type
        Such as fine_tuning.job.succeeded.
    endpoint
        The id of one webhook endpoint, which need not have subscribed to the type.
    ready_file
        The ready file of a running `tunegate dev`.
    """
    from cli.gateway import Gateway
    from cli.trigger import trigger

    return trigger(Gateway.found(os.environ, ready_file), event_type, endpoint=endpoint)


@app.command
def demo(*, data_dir: Path | None = None) -> int:
    """Fine-tune a model in a minute on this machine, from dataset to answer. Never spends anything.

    Parameters
    ----------
    data_dir
        Where to keep what the demo makes. Default: a temporary folder, removed at the end.
    """
    from cli.demo import run_demo

    return run_demo(data_dir)


def _settings() -> Settings:
    return Settings.from_env(os.environ)
