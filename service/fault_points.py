"""Named fault points, at which a test can kill or stop the process. Without `TUNEGATE_FAULT_POINT` they do nothing.

The variable is `name` or `name:n`: the process sends itself SIGKILL, or the signal `TUNEGATE_FAULT_SIGNAL` (`SIGSTOP`),
at the n-th passage of that point. Both are read here and not in `Settings`, since they are for tests only. There is a
point at every boundary between a commit and a call that leaves the process; `tests/faults/kill_matrix.py` kills at each
of them.
"""

import os
import signal

POINTS = {
    "file.announced": "an object is recorded as pending, and not written",
    "file.stored": "an object is written, and no row refers to it",
    "request.committed": "a creating request is committed with its response, which is not sent",
    "upload.joined": "the parts of an upload are joined, and the file's row is not committed",
    "report.counted": "an attempt at a report is committed, and has not started",
    "report.made": "a report is made, and not committed",
    "report.recorded": "a report is committed with its event, and the waiting jobs are made due",
    "prepare.counted": "an attempt at a preparation is committed",
    "prepare.announced": "the objects of a preparation are recorded as pending, and not written",
    "prepare.working": "the dataset process has started the preparation (that process is killed)",
    "prepare.stored": "the prepared files are stored, and not committed",
    "prepare.ended": "a preparation is committed with its files",
    "run.begun": "a time slice of a run has begun, and no call is sent",
    "run.reserved": "calls of a run have their reservations, and are not sent",
    "run.answered": "the upstream has answered calls of a run, and the answers are not committed",
    "run.recorded": "the answers of a run are committed with their cost",
    "run.given_back": "the time at which a run continues is committed",
    "run.announced": "the file of a run is announced, and not written",
    "run.stored": "the file of a run is written, and the run's end is not committed",
    "run.graded": "the cases of a comparison are graded, and the scores are not committed",
    "run.ended": "a run's end is committed with its file",
    "validate.committed": "a job's datasets are validated and its money is reserved",
    "wait.committed": "a waiting job's pause or cancel is carried out, and a scheduling pass is requested",
    "schedule.admitted": "free slots are given to jobs, and that is not committed",
    "schedule.committed": "free slots are given to jobs",
    "upload.claimed": "the claim to send a file upstream is committed",
    "upload.intent_committed": "the intent to send a file is committed, and it is not sent",
    "upload.answered": "a file is sent, and its upstream id is not committed",
    "upload.recorded": "a file's upstream id is committed, and the job does not know",
    "upload.moved": "all files are upstream, and the job is in `creating`",
    "create.intent_committed": "the intent to create is committed, and nothing is sent",
    "create.answered": "the upstream has answered the create, and nothing is committed",
    "create.remembered": "the upstream job's id is recorded, and the job is still in `creating`",
    "create.recorded": "the job is in `running`",
    "create.given_back": "an unsuccessful create is committed with the next step",
    "create.searched": "the upstream was searched for the job of an unanswered create, and nothing is committed",
    "create.found": "the jobs that were found are recorded, and none is adopted",
    "create.found_nothing": "an empty list is counted, or the attempt given up",
    "poll.request_sent": "a cancel, pause or resume is sent upstream, and that is not committed",
    "poll.answered": "the upstream has answered a poll, and its updates are not committed",
    "poll.recorded": "the updates are committed",
    "account_poll.listed": "a page of the upstream's jobs is fetched, and not compared",
    "account_poll.recorded": "the jobs with updates in a page are made due",
    "settle.announced": "a result file is noted, and not written",
    "settle.results_stored": "the result files are written, and the end is not committed",
    "settle.ended": "the end is committed: ledger, model, event, deliveries",
    "deliver.read": "a delivery is read, and not sent",
    "deliver.answered": "the receiver has answered, and that is not committed",
    "deliver.recorded": "the try is committed",
    "orphan.found": "an orphaned upstream job is recorded, and not cancelled",
    "orphan.cancelled": "an orphaned upstream job is cancelled upstream, and that is not committed",
    "inference.booked": "the cost of calls is reserved, and they are not sent",
    "leakage.counted": "an attempt at comparing two files is committed",
    "leakage.made": "two files are compared, and that is not committed",
    "leakage.recorded": "a comparison is committed with its warnings",
    "leakage.working": "the dataset process has started to compare two files (that process is killed)",
    "settle.deployed": "the model is deployed to its alias, and that is not committed",
    "deployment.begun": "the comparison that decides about a deployment is committed",
    "deployment.decided": "a model is deployed, or refused, by its comparison",
    "experiment.share_announced": "the object of a share of the data is announced, and not written",
    "experiment.share_stored": "a share of the data is written, and not committed",
    "experiment.share_recorded": "the file of a share of the data is committed with its arms",
    "experiment.arm_created": "an arm's job has its reservation, and is not committed",
    "experiment.arm_committed": "an arm's job is committed",
    "experiment.arm_stopped": "the cancel of an arm that its rule stops is committed",
    "experiment.compared": "the comparison of the arms is committed",
    "experiment.cancelled": "the cancel of an experiment's jobs is committed, or its end",
    "experiment.ended": "an experiment's end is committed, with the promotion",
    "deletion.content_deleted": "an object is deleted, and that is not committed",
    "deletion.upstream_files_released": "the deletion of a file's upstream files is requested",
    "deletion.upstream_answered": "the upstream has answered a deletion, and that is not committed",
    "project.stopped": "all work of a project is cancelled",
    "project.released_some": "the deletion of some of a project's upstream files is requested",
    "project.objects_deleted": "the objects of a project are deleted",
    "project.emptied_some": "some of a project's rows are deleted",
    "project.rows_deleted": "all of its rows that are not retained are deleted",
    "project.redacted_some": "some of its retained rows are redacted",
    "project.ended": "the deletion of a project is committed as done",
    "storage_cleanup.deleted": "objects are deleted, and their rows are not changed",
}
"""Every fault point, with the state at it. A test checks that the list and the code have the same points."""

_NAME, _, _NTH = os.environ.get("TUNEGATE_FAULT_POINT", "").partition(":")
_SIGNAL = signal.Signals[os.environ.get("TUNEGATE_FAULT_SIGNAL") or "SIGKILL"]
_passages = 0


def point(name: str) -> None:
    """Mark a place between two steps at which a crash must do no harm."""
    global _passages
    if name == _NAME:
        _passages += 1
        if _passages == int(_NTH or 1):
            os.kill(os.getpid(), _SIGNAL)
