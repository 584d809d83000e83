"""One phase of one job in a process of its own: `python -m trainer.train`, with its instructions in the environment.

It reads files and weights from the object store, reports to the server over HTTP, and needs no other machine's disk.
After an interruption another one continues from the last saved weights. The steps since then are repeated with the
same figures and record no second event.
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .assignments import job_settings
from .engines.choice import make_engine
from .engines.port import DataFacts, Engine, Fenced, Progress, Refused, Work
from .examples import BadRow, ExampleFile
from .instructions import Instructions, read_instructions
from .orphan import die_with, exit_if_orphaned
from .plan import Plan, resolve
from .recorder import ServerRecorder
from .reports import Assignment, Failed, Validated
from .scratch import scratch_folder
from .server_client import GIVE_UP_SECONDS, ServerClient
from .storage import Storage

_STORAGE_RETRY_SECONDS = 180.0
_log = logging.getLogger("trainer.train")


def main() -> int:
    """Run the phase; 0 when the job changed state or was fenced, else the process counts as crashed."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # at INFO it logs each report
    given = read_instructions(os.environ)
    if given.parent_pid is not None:
        die_with(given.parent_pid)
        os.nice(10)
    client = ServerClient(given.url, given.token, between=_check_parent(given), give_up_seconds=GIVE_UP_SECONDS)
    try:
        with scratch_folder() as scratch:
            _Phase(given, client, client.assignment(), scratch).run()
    except Fenced:
        _log.info("job %s was fenced", given.job_id)
    return 0


class _Phase:
    """The work of one process."""

    def __init__(self, given: Instructions, client: ServerClient, job: Assignment, scratch: Path) -> None:
        self._given, self._client, self._job, self._scratch = given, client, job, scratch
        self._storage = Storage(given.storage_url, retry_seconds=_STORAGE_RETRY_SECONDS)

    def run(self) -> None:
        try:
            engine = make_engine(
                self._given.engine, cache_dir=self._given.engine_dir, models_dir=self._given.models_dir
            )
            if self._given.validating:
                self._validate(engine)
            else:
                self._train(engine)
        except Refused as refused:
            _log.info("job %s failed: %s", self._given.job_id, refused)
            self._client.report([Failed(code=refused.code, message=str(refused), param=refused.param)])

    def _validate(self, engine: Engine) -> None:
        training = self._open("training_file", self._job.training_file)
        facts = self._facts(engine, "training_file", training)
        of_validation = None
        if self._job.validation_file is not None:
            validation = self._open("validation_file", self._job.validation_file)
            of_validation = self._facts(engine, "validation_file", validation)
        time.sleep(max(0.0, min(self._given.phase_seconds, self._job.phase_ends_at - time.time())))
        self._client.report([Validated(examples=len(training), training=facts, validation=of_validation)])

    def _facts(self, engine: Engine, param: str, rows: ExampleFile) -> DataFacts:
        try:
            return engine.validate(job_settings(self._job), rows)
        except BadRow as error:
            raise _bad_file(param, error) from None

    def _train(self, engine: Engine) -> None:
        job = self._job
        training = self._open("training_file", job.training_file)
        validation = None
        if job.validation_file is not None:
            validation = self._open("validation_file", job.validation_file)
        plan = _plan(job, len(training))
        scratch = self._scratch / "work"
        scratch.mkdir()
        work = Work(
            settings=job_settings(job),
            plan=plan,
            training=training,
            validation=validation,
            start=None if job.start is None else self._folder(job.start, "start") / "model",
            progress=None
            if job.resume is None
            else Progress(self._folder(job.resume, "resume"), job.resume_step, job.resume_tokens),
            snapshot_tokens=self._given.snapshot_tokens,
            pace_seconds=self._given.pace_seconds,
            scratch=scratch,
        )
        weights = f"weights/{self._given.job_id}/{self._given.attempt}"
        recorder = ServerRecorder(self._client, self._storage, plan, weights=weights, reports=self._given.rank == 0)
        try:
            engine.train(work, recorder)
            recorder.succeed()
        except BadRow as error:
            raise _bad_file("training_file", error) from None
        finally:
            recorder.close()

    def _open(self, param: str, file_id: str) -> ExampleFile:
        key = f"files/{file_id}"
        path = self._storage.local(key)
        try:
            if path is None:
                path = self._scratch / param
                self._storage.fetch(key, path)
            return ExampleFile(path, preference=self._job.method == "dpo")
        except BadRow as error:
            raise _bad_file(param, error) from None
        except FileNotFoundError:
            raise Refused(param, f"The file {file_id} no longer exists", code=f"invalid_{param}") from None

    def _folder(self, prefix: str, name: str) -> Path:
        local = self._storage.local(prefix)
        if local is not None:
            return local
        self._storage.fetch_folder(prefix, self._scratch / name)
        return self._scratch / name


def _plan(job: Assignment, examples: int) -> Plan:
    return resolve(examples=examples, n_epochs=job.n_epochs, batch_size=job.batch_size, rate=job.rate, beta=job.beta)


def _bad_file(param: str, error: BadRow) -> Refused:
    return Refused(param, str(error), code=f"invalid_{param}")


def _check_parent(given: Instructions) -> Callable[[], None]:
    return lambda: exit_if_orphaned(given.parent_pid) if given.parent_pid is not None else None


if __name__ == "__main__":
    sys.exit(main())
