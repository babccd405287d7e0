"""The queue, on DBOS: durable, shared by many machines, each job on one of them at a time. The only importer of DBOS.

Guard rails, each for a trap that was met: the page is a client and never launches DBOS; a supervisor's executor id is
persisted by its caller, so that a restart finds its own interrupted job; the application version is fixed by hand, or
jobs that waited over an upgrade would never start; recovery is unlimited, because DBOS counts every restart of the
machine against the job (crash loops are counted by the supervisor instead); one worker per process; arguments are
pickled into the database, so a job id is all that is passed, and the attempt is read off the workflow's name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Any

from dbos import DBOS, DBOSClient, DBOSConfig, error, run_dbos_database_migrations

from jobs.record.lost_connections import noticing_loss

_WORKFLOW, _STEP = "train-job", "train"
_APPLICATION, _VERSION = "concept-studio", "1"
_POLL_S, _TRIES = 0.5, 10
_ALIVE = ("ENQUEUED", "DELAYED", "PENDING")

log = logging.getLogger(__name__)

logging.getLogger("dbos").setLevel(logging.WARNING)  # at INFO it tells each migration, and the database's address


class Queue(StrEnum):
    """Where a job waits: for a device of a machine that serves it, or to be sent to Hugging Face."""

    training = "training"
    remote = "remote"


class QueueClient:
    """For whoever puts jobs in and takes them out. Raises SQLAlchemyError where the database is away."""

    def __init__(self, database_url: str) -> None:
        url = noticing_loss(database_url)
        run_dbos_database_migrations(url)
        # without this a call sleeps until the database is back, and with it the page's main thread
        self._client = DBOSClient(system_database_url=url, retry_connection_errors=False)

    def enqueue(self, job_id: str, *, attempt: int, priority: int, queue: Queue = Queue.training) -> None:
        """Queue an attempt at a job; a second call for an attempt that is queued or running changes nothing.

        The attempt before may be over and not yet noted so by DBOS, which then refuses the next: that is waited for.
        """
        options: Any = {
            "queue_name": queue.value,
            "workflow_name": _WORKFLOW,
            "workflow_id": _workflow_id(job_id, attempt),
            "deduplication_id": job_id,
            "app_version": _VERSION,
            "priority": priority,
        }
        for _ in range(_TRIES):
            try:
                self._client.enqueue(options, job_id)
            except error.DBOSQueueDeduplicatedError:
                if self._knows(options["workflow_id"]):
                    return
                time.sleep(_POLL_S)
            else:
                return
        log.warning("job %s cannot be queued yet: its last attempt is still noted as running", job_id)

    def _knows(self, workflow_id: str) -> bool:
        return bool(self._client.list_workflows(workflow_ids=[workflow_id], load_input=False, load_output=False))

    def over(self, attempts: Mapping[str, int]) -> set[str]:
        """Which of these jobs, each with its attempt, are neither waiting nor in progress any more."""
        if not attempts:
            return set()  # DBOS would take no names for all names
        jobs = {_workflow_id(job_id, attempt): job_id for job_id, attempt in attempts.items()}
        known: Any = self._client.list_workflows(workflow_ids=list(jobs), load_input=False, load_output=False)
        return {jobs[workflow.workflow_id] for workflow in known if workflow.status not in _ALIVE}

    def withdraw(self, job_id: str, *, attempt: int) -> None:
        """Take a waiting attempt out of the queue."""
        self._client.cancel_workflow(_workflow_id(job_id, attempt))

    def end_all_of(self, executors: Collection[str]) -> int:
        """End the attempts that these have in progress, who are gone; returns how many.

        One that comes back finds none of them any more, and the next attempts can be anybody's.
        """
        theirs: Any = self._client.list_workflows(
            status="PENDING", executor_id=list(executors), load_input=False, load_output=False
        )
        for workflow in theirs:
            self._client.cancel_workflow(workflow.workflow_id)
        return len(theirs)

    def close(self) -> None:
        self._client.destroy()


class QueueWorker:
    """What a supervisor needs: calls `run_job(job_id, attempt)` for `at_once` jobs at a time, in threads of DBOS."""

    def __init__(
        self, database_url: str, queue: Queue, *, executor_id: str, at_once: int, run_job: Callable[[str, int], None]
    ) -> None:
        self._queue, self._at_once = queue, at_once
        config: DBOSConfig = {
            "name": _APPLICATION,
            "system_database_url": noticing_loss(database_url),
            "application_version": _VERSION,
            "executor_id": executor_id,
            "console_log_level": "WARNING",
            "enable_otlp": False,
        }
        DBOS(config=config)
        DBOS.listen_queues([queue.value])

        @DBOS.step(name=_STEP)
        def train(job_id: str, attempt: int) -> None:
            run_job(job_id, attempt)

        @DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=None)
        def train_job(job_id: str) -> None:  # pyright: ignore[reportUnusedFunction] - DBOS calls it by name
            assert DBOS.workflow_id is not None  # this is one
            train(job_id, _attempt_of(DBOS.workflow_id))

    def start(self) -> None:
        """Recover this executor's interrupted jobs, then serve the queue."""
        DBOS.launch()
        DBOS.register_queue(
            self._queue.value,
            worker_concurrency=self._at_once,
            polling_interval_sec=_POLL_S,
            on_conflict="always_update",
        )


def _workflow_id(job_id: str, attempt: int) -> str:
    return f"{job_id}-{attempt}"


def _attempt_of(workflow_id: str) -> int:
    return int(workflow_id.rpartition("-")[2])
