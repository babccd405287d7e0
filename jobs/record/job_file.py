"""job.json in the run folder: enough of a job to rebuild its row, and the count of tries that got nowhere."""

from __future__ import annotations

import logging
from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from jobs.record.state import JobState, StopWish
from jobs.record.store import Job
from trainer.run_folder import RunFolder
from trainer.whole_files import read_model, write_model

log = logging.getLogger(__name__)


class JobFile(BaseModel):
    """The file's content. `tries` counts starts since the newest checkpoint, `checkpoint_step` says which that was."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    owner: str
    title: str
    state: JobState
    wish: StopWish = StopWish.none
    created: float
    queued: float = 0.0
    priority: int = 1
    attempt: int = 1
    tries: int = 0
    checkpoint_step: int = 0


def read_job_file(run: RunFolder) -> JobFile | None:
    """None where there is no job file, or it is damaged."""
    return read_model(run.job_file, JobFile)


def write_job_file(run: RunFolder, job: Job, *, tries: int = 0, checkpoint_step: int = 0) -> None:
    """Write the job as it is now."""
    content = JobFile(
        id=job.id,
        owner=job.owner,
        title=job.title,
        state=job.state,
        wish=job.wish,
        created=job.created,
        queued=job.queued,
        priority=job.priority,
        attempt=job.attempt,
        tries=tries,
        checkpoint_step=checkpoint_step,
    )
    write_model(run.job_file, content)


def record_wish(run: RunFolder, wish: StopWish) -> None:
    """Record what its row says already. On a full disk the row alone does: whoever cancels there wants it back."""
    try:
        if (before := read_job_file(run)) is not None:
            write_model(run.job_file, before.model_copy(update={"wish": wish}))
    except OSError as error:
        log.warning("the wish to stop job %s is in the database alone: %s", run.root.name, error)


def record_owner(run: RunFolder, owner: str) -> None:
    """Record whose it is now; how often it was started stays."""
    if (before := read_job_file(run)) is not None:
        write_model(run.job_file, before.model_copy(update={"owner": owner}))


def count_try(run: RunFolder, job: Job, checkpoint_step: int) -> int:
    """Record a start of the run; returns how many starts there were since a new checkpoint was written."""
    before = read_job_file(run)
    tries = 1 if before is None or checkpoint_step > before.checkpoint_step else before.tries + 1
    wish = job.wish if before is None else before.wish  # it may be newer than what the supervisor knows of the job
    started = replace(job, state=JobState.running, wish=wish)
    write_job_file(run, started, tries=tries, checkpoint_step=checkpoint_step)
    return tries
