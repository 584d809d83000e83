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
import time
from pathlib import Path

from . import jobs
from .examples import BadRow, ExampleFile
from .jobs import Fenced
from .orphan import die_with
from .plan import Plan, resolve
from .store import Store

_log = logging.getLogger("trainer.train")


def main() -> int:
    """Run the phase; 0 when the job changed state or was fenced, else the process counts as crashed."""
    arguments = _arguments()
    die_with(arguments.parent)
    os.nice(10)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    store = Store(arguments.data_dir)
    job_id, attempt = arguments.job, arguments.attempt
    try:
        if arguments.phase == "validate":
            _validate(store, job_id, attempt, phase_seconds=arguments.phase_seconds)
        else:
            _train(store, job_id, attempt, arguments)
    except Fenced:
        _log.info("job %s was fenced", job_id)
    except _Refused as refused:
        _log.info("job %s failed: %s", job_id, refused)
        _fail(store, job_id, attempt, refused)
    return 0


class _Refused(Exception):
    def __init__(self, param: str, reason: str) -> None:
        super().__init__(reason)
        self.param = param


def _validate(store: Store, job_id: str, attempt: int, *, phase_seconds: float) -> None:
    job = store.row("SELECT * FROM jobs WHERE id = ?", job_id)
    assert job is not None
    preference = job["method"] == "dpo"
    training = _open(store, "training_file", job["training_file"], preference=preference)
    _check("training_file", training)
    if job["validation_file"] is not None:
        _check("validation_file", _open(store, "validation_file", job["validation_file"], preference=preference))
    plan = _plan(job, len(training))
    time.sleep(max(0.0, min(phase_seconds, job["entered_at"] + phase_seconds - time.time())))
    jobs.record_validation(store, job_id, attempt, plan)


def _train(store: Store, job_id: str, attempt: int, arguments: argparse.Namespace) -> None:
    job = store.row("SELECT * FROM jobs WHERE id = ?", job_id)
    assert job is not None
    preference = job["method"] == "dpo"
    training = _open(store, "training_file", job["training_file"], preference=preference)
    validation = None
    if job["validation_file"] is not None:
        validation = _open(store, "validation_file", job["validation_file"], preference=preference)
    from .training_run import TrainingRun

    run = TrainingRun(
        store=store,
        job=job,
        attempt=attempt,
        plan=_plan(job, len(training)),
        training=training,
        validation=validation,
        pace_seconds=arguments.pace_seconds,
        snapshot_tokens=arguments.snapshot_tokens,
        parent_pid=arguments.parent,
    )
    run.run()


def _plan(job: sqlite3.Row, examples: int) -> Plan:
    settings = {name: json.loads(job[name]) for name in ("n_epochs", "batch_size", "rate", "beta")}
    return resolve(examples=examples, **{name: None if v == "auto" else v for name, v in settings.items()})


def _open(store: Store, param: str, file_id: str, *, preference: bool) -> ExampleFile:
    try:
        return ExampleFile(store.file_path(file_id), preference=preference)
    except BadRow as error:
        raise _Refused(param, str(error)) from None
    except FileNotFoundError:
        raise _Refused(param, f"The file {file_id} no longer exists") from None


def _check(param: str, examples: ExampleFile) -> None:
    try:
        examples.check()
    except BadRow as error:
        raise _Refused(param, str(error)) from None


def _fail(store: Store, job_id: str, attempt: int, refused: _Refused) -> None:
    try:
        jobs.fail(store, job_id, attempt, code=f"invalid_{refused.param}", message=str(refused), param=refused.param)
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
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
