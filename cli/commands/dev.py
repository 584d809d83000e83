"""`tunegate dev`: the whole stack on this machine."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from cli.trainer_engine import EngineName, chosen_engine
from service.settings import MAX_PORT, Settings


def dev(
    *,
    port: Annotated[int | None, Parameter(validator=Number(gte=0, lte=MAX_PORT))] = None,
    data_dir: Path = Path(".tunegate"),
    ready_file: Path | None = None,
    engine: EngineName | None = None,
    models: Path | None = None,
) -> int:
    """Run the whole stack on this machine, until Ctrl-C.

    Postgres, Valkey and a trainer are embedded. DATABASE_URL, REDIS_URL, and OPENAI_BASE_URL with OPENAI_API_KEY,
    if set, replace the embedded parts.

    Parameters
    ----------
    port
        The API's port; 0 picks a free one. Default: TUNEGATE_PORT, else 8080.
    data_dir
        The folder for the data; a stack that is started on it again continues with its data.
    ready_file
        A JSON file to write when the stack serves, with URLs, keys and pids.
    engine
        What the trainer trains: `bytemodel`, a tiny model that stands in for OpenAI's, or `transformers`, the language
        models in the folder `models`. Default: TRAINER_ENGINE, else bytemodel, or transformers with `models`.
    models
        A folder with base models: a sub-folder for each, in Hugging Face layout or with one GGUF file. Default:
        TRAINER_MODELS_DIR.
    """
    from cli.dev import run_dev

    chosen = Settings.from_env(os.environ).port if port is None else port
    trainer = chosen_engine(os.environ, engine=engine, models=models)
    return run_dev(port=chosen, data_dir=data_dir, ready_file=ready_file, engine=trainer)
