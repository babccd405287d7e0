"""Jobs in the queue: each in the one it belongs to, and back in it when its place was lost."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection

from sqlalchemy.exc import SQLAlchemyError

from jobs.queueing.fleet import SupervisorStore, open_database
from jobs.queueing.queue import Queue, QueueClient
from jobs.record.remote_run import read_remote_for_certain
from jobs.record.state import OPEN_STATES, JobState
from jobs.record.store import Job, JobStore
from trainer.run_folder import RunFolder
from trainer.settings import Settings

log = logging.getLogger(__name__)


class JobQueue:
    """The queue of one data root, and who serves it."""

    def __init__(self, store: JobStore, supervisors: SupervisorStore, settings: Settings) -> None:
        self._store, self._supervisors = store, supervisors
        self._queue, self._runs_dir = QueueClient(settings.jobs_database_url), settings.runs_dir

    def close(self) -> None:
        """Let go of the database."""
        self._queue.close()
        self._store.close()

    def enqueue(self, job: Job) -> None:
        """Queue the present attempt at a job, to be trained here or at Hugging Face; twice is as good as once.

        Where the database or the folder with the runs is away, `add_missing` does it when it is back.
        """
        try:
            self._enqueue(job)
        except (SQLAlchemyError, OSError) as error:
            log.warning("job %s is not queued yet: %s", job.id, type(error).__name__)

    def _enqueue(self, job: Job) -> None:
        remote = read_remote_for_certain(RunFolder(self._runs_dir / job.id))
        queue = Queue.remote if remote is not None else Queue.training
        self._queue.enqueue(job.id, attempt=job.attempt, priority=job.priority, queue=queue)

    def withdraw(self, job: Job) -> None:
        """Take out a waiting attempt that is over; where the database is away, whoever gets to it passes it over."""
        with contextlib.suppress(SQLAlchemyError):
            self._queue.withdraw(job.id, attempt=job.attempt)

    def add_missing(self, gone: Collection[str] = ()) -> None:
        """Queue every open job: one may have lost its place, or never got one.

        `gone` are supervisors that will not come back, or came too late: what they had in progress is queued as the
        next attempt. Where the database is away, or the files of a job are, the next time will do.
        """
        with contextlib.suppress(SQLAlchemyError):
            if gone and self._queue.end_all_of(gone):
                log.warning("jobs of a device that is not there any more go on elsewhere")
            jobs = self._store.in_state(*OPEN_STATES)
            over = self._queue.over({job.id: job.attempt for job in jobs})
            for job in jobs:
                with contextlib.suppress(OSError):  # nobody could tell whether it trains here or at Hugging Face
                    if job.id in over:
                        self._begin_again(job)
                    else:
                        self._enqueue(job)
            if gone:
                self._supervisors.forget(gone)

    def give_back(self, job: Job) -> None:
        """Queue the next attempt at a job whose supervisor cannot train it, and leaves it to whoever can.

        Raises SQLAlchemyError where the database is away, OSError where the job's files are.
        """
        self._queue.withdraw(job.id, attempt=job.attempt)  # first: after a kill in between it is found to be over
        self._begin_again(job, "The device that took it cannot be used at the moment; it waits for another one.")

    def _begin_again(self, job: Job, message: str = "Interrupted; it goes on by itself.") -> None:
        """Queue the next attempt at a job that the queue takes for over, though nobody settled it."""
        remote = read_remote_for_certain(RunFolder(self._runs_dir / job.id))
        # what may have begun at Hugging Face must not be cancelled as if it never had
        state = job.state if remote is not None and remote.has_begun else JobState.waiting
        if self._store.begin_again(job, state, message):
            log.warning("job %s was left unsettled: %s", job.id, message)
            self.enqueue(self._store.get(job.id))


def open_job_queue(settings: Settings) -> JobQueue:
    """The queue of the settings' database. Raises RequestError as `open_database` does."""
    engine, supervisors = open_database(settings)
    return JobQueue(JobStore(engine), supervisors, settings)
