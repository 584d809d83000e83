"""One phase of one job in a process of its own: `python -m trainer.train --phase validate|train …`.

The server starts it, and it ends with the server. After an interruption it is started again and continues from the
last saved weights. The steps since then are repeated with the same figures and record no second event.
"""

import argparse
import json
import logging
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from . import jobs
from .engines.choice import make_engine
from .engines.port import Engine, Fenced, JobSettings, Progress, Refused, Work
from .examples import BadRow, ExampleFile
from .orphan import die_with
from .plan import Plan, resolve
from .recorder import StoreRecorder
from .store import Store

_log = logging.getLogger("trainer.train")


def main() -> int:
    """Run the phase; 0 when the job changed state or was fenced, else the process counts as crashed."""
    arguments = _arguments()
    die_with(arguments.parent)
    os.nice(10)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    store = Store(arguments.data_dir)
    job = store.row("SELECT * FROM jobs WHERE id = ?", arguments.job)
    assert job is not None
    try:
        engine = make_engine(arguments.engine, cache_dir=arguments.data_dir / "engine", models_dir=arguments.models)
        if arguments.phase == "validate":
            _validate(store, engine, job, arguments)
        else:
            _train(store, engine, job, arguments)
    except Fenced:
        _log.info("job %s was fenced", job["id"])
    except Refused as refused:
        _log.info("job %s failed: %s", job["id"], refused)
        _fail(store, job["id"], arguments.attempt, refused)
    return 0


def _validate(store: Store, engine: Engine, job: sqlite3.Row, arguments: argparse.Namespace) -> None:
    training = _open(store, job, "training_file")
    for param, rows in (("training_file", training), ("validation_file", _open_validation(store, job))):
        if rows is not None:
            try:
                engine.validate(_settings(job), rows)
            except BadRow as error:
                raise _bad_file(param, error) from None
    plan = _plan(job, len(training))
    seconds = arguments.phase_seconds
    time.sleep(max(0.0, min(seconds, job["entered_at"] + seconds - time.time())))
    jobs.record_validation(store, job["id"], arguments.attempt, plan)


def _train(store: Store, engine: Engine, job: sqlite3.Row, arguments: argparse.Namespace) -> None:
    training = _open(store, job, "training_file")
    plan = _plan(job, len(training))
    resumed = job["resume_weights"]
    recorder = StoreRecorder(store, job, arguments.attempt, plan, parent_pid=arguments.parent)
    with tempfile.TemporaryDirectory(prefix="trainer-") as scratch:
        work = Work(
            settings=_settings(job),
            plan=plan,
            training=training,
            validation=_open_validation(store, job),
            start=store.weights_path(job["start_weights"]) / "model" if job["start_weights"] else None,
            progress=Progress(store.weights_path(resumed), job["resume_step"], job["resume_tokens"])
            if resumed
            else None,
            snapshot_tokens=arguments.snapshot_tokens,
            pace_seconds=arguments.pace_seconds,
            scratch=Path(scratch),
        )
        engine.train(work, recorder)
    recorder.finish()


def _settings(job: sqlite3.Row) -> JobSettings:
    return JobSettings(
        base=job["base"],
        method=job["method"],
        seed=job["seed"],
        adapter=None,
        continues=job["start_weights"] is not None,
    )


def _plan(job: sqlite3.Row, examples: int) -> Plan:
    settings = {name: json.loads(job[name]) for name in ("n_epochs", "batch_size", "rate", "beta")}
    return resolve(examples=examples, **{name: None if v == "auto" else v for name, v in settings.items()})


def _open_validation(store: Store, job: sqlite3.Row) -> ExampleFile | None:
    return _open(store, job, "validation_file") if job["validation_file"] is not None else None


def _open(store: Store, job: sqlite3.Row, param: str) -> ExampleFile:
    try:
        return ExampleFile(store.file_path(job[param]), preference=job["method"] == "dpo")
    except BadRow as error:
        raise _bad_file(param, error) from None
    except FileNotFoundError:
        raise Refused(param, f"The file {job[param]} no longer exists", code=f"invalid_{param}") from None


def _bad_file(param: str, error: BadRow) -> Refused:
    return Refused(param, str(error), code=f"invalid_{param}")


def _fail(store: Store, job_id: str, attempt: int, refused: Refused) -> None:
    try:
        jobs.fail(store, job_id, attempt, code=refused.code, message=str(refused), param=refused.param)
    except Fenced:
        _log.info("job %s was fenced", job_id)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m trainer.train")
    parser.add_argument("--phase", choices=("validate", "train"), required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--job", required=True)
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--phase-seconds", type=float, required=True)
    parser.add_argument("--pace-seconds", type=float, required=True)
    parser.add_argument("--snapshot-tokens", type=int, required=True)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--models", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
