"""The supervisor: takes jobs from a queue and sees each through to its end, whoever trains them."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from jobs.queueing.executors import executor_id, lock_file
from jobs.queueing.fleet import open_database
from jobs.queueing.job_queue import open_job_queue
from jobs.queueing.queue import QueueWorker
from jobs.record.job_file import count_try, write_job_file
from jobs.record.state import JobState, StopWish, explain_exit, outcome
from jobs.record.store import Job, JobStore, now
from jobs.runs.progress import Progress, progress_of
from jobs.supervisor.training import POLL_S, Trainer, Watch
from jobs.supervisor.words import ending, resuming, unexpected
from trainer.artifact import check_hashes, read_manifest
from trainer.errors import ConceptError, RecipeError, RequestError, StudioError, VerificationError
from trainer.imports.task import has_task, read_task
from trainer.machine.locks import hold_lock
from trainer.machine.process import StopSignal
from trainer.run_folder import RunFolder
from trainer.settings import Settings

log = logging.getLogger(__name__)
MAX_TRIES = 3
_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_LOOK_AGAIN_S = 30.0
"""How often it is looked whether a device that could not be used can be by now."""
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class _Ended:
    """How a run ended."""

    exit_code: int
    progress: Progress


class Supervisor:
    """Serves one trainer's queue until it is told to stop.

    A job in progress is then checkpointed and waits again, or goes on elsewhere and is found again by the next start.
    """

    def __init__(self, settings: Settings, trainer: Trainer) -> None:
        """Raises RequestError where the machines of this database work in another folder."""
        self._settings, self._trainer = settings, trainer
        self._stop = StopSignal()
        engine, self._supervisors = open_database(settings, wait_until=self._stop.requested)
        self._store = JobStore(engine)
        self._busy: set[str] = set()

    def serve(self, beside: AbstractContextManager[object] | None = None) -> None:
        """Run until a stop is requested. Raises BusyError where another supervisor serves the same.

        `beside` is entered once it is certain that there is no other.
        """
        self._stop.install()
        self._settings.runtime_dir.mkdir(parents=True, exist_ok=True)
        lock = lock_file(self._settings.runtime_dir, self._trainer.key)
        with hold_lock(lock, what=self._trainer.label), beside or nullcontext():
            queue = QueueWorker(
                self._settings.jobs_database_url,
                self._trainer.queue,
                executor_id=executor_id(self._settings.runtime_dir, self._trainer.key),
                at_once=self._trainer.at_once,
                run_job=self._run_job,
            )
            queue.start()
            log.info("%s is served by pid %d", self._trainer.label, os.getpid())
            while not self._stop.requested():
                time.sleep(POLL_S)
            self._leave()

    def _leave(self) -> None:
        """Go, leaving jobs in progress for the next start.

        The queue's threads are still inside the jobs, and must stay there: a step that returned would count as done.
        So the process ends without unwinding.
        """
        self._trainer.leave()
        deadline = time.monotonic() + 2.0
        while self._busy and time.monotonic() < deadline:
            time.sleep(0.05)
        os._exit(0)

    def _run_job(self, job_id: str, attempt: int) -> None:
        """An attempt at a job, from its start to its end; called by the queue, and again after a crash of this process.

        Nothing may escape: the queue would take the job for over, and its row would stay open.
        """
        job = self._find(job_id)
        if job is None or not job.is_open or job.attempt != attempt:
            return
        self._insist(job_id, lambda: self._supervisors.check_shared_folder(self._settings))  # the network may be away
        if not self._insist(job_id, self._trainer.can_train):
            self._leave_to_others(job)
            return
        run = RunFolder(self._settings.runs_dir / job_id)
        watch = self._watch(job)
        self._busy.add(job_id)
        try:
            with self._trainer.lease(lambda: watch.wish() is StopWish.cancel):
                self._attempt_until_settled(job, run, watch)
        except StudioError as error:
            self._settle(job, run, JobState.failed, str(error))
        except Exception as error:
            log.exception("job %s", job_id)
            self._settle(job, run, JobState.failed, unexpected(error))
        finally:
            self._busy.discard(job_id)

    def _leave_to_others(self, job: Job) -> None:
        """Queue a job again that cannot be trained here now; returns when one can be.

        Until then this supervisor stays inside the job, as far as the queue knows, and so is given no other.
        """

        def give_back() -> None:
            with contextlib.closing(open_job_queue(self._settings)) as queue:
                queue.give_back(job)

        self._insist(job.id, give_back)
        while not self._insist(job.id, self._trainer.can_train):
            time.sleep(_LOOK_AGAIN_S)

    def _attempt_until_settled(self, job: Job, run: RunFolder, watch: Watch) -> None:
        """Train; what was torn off is started again, until three starts brought no new checkpoint."""
        last_exit = 0
        while True:
            found_again = self._insist(job.id, lambda: self._trainer.is_under_way(run))
            if not found_again:  # what is under way elsewhere is followed whatever its recipe says: it costs money
                _check_recipe(run)
            progress = progress_of(run.events_file)
            started: dict[str, Any] = {} if found_again else {"started": now()}
            words = "" if found_again else resuming(progress)
            self._change_state(job, JobState.running, message=words, **started)
            if self._is_anothers(job):
                return
            if not found_again and _wish(job, self._find(job.id)) is StopWish.cancel:  # from here on a cancel is a wish
                self._settle(job, run, JobState.cancelled, "Cancelled.")
                return
            if not found_again and count_try(run, job, progress.checkpoint_step) > MAX_TRIES:
                reason = explain_exit(last_exit) if last_exit else "It was interrupted each time."
                text = f"Started {MAX_TRIES} times without getting further. {reason} The log holds the details."
                self._settle(job, run, JobState.failed, text)
                return
            exit_code = self._trainer.train(job, run, watch)
            if exit_code is None:
                self._park(job.id)
            ended = _Ended(exit_code, progress_of(run.events_file))
            wish = _wish(job, self._find(job.id))  # certain, and not what was known last
            if self._stop.requested() and wish is not StopWish.cancel:
                self._interrupt(job, run)
            if ended.exit_code >= 0 or wish is not StopWish.none:
                self._conclude(job, run, ended, wish)
                return
            last_exit = ended.exit_code
            self._change_state(job, JobState.waiting, message="Interrupted; it goes on by itself.")

    def _conclude(self, job: Job, run: RunFolder, ended: _Ended, wish: StopWish) -> None:
        """Decide what the end of a run means, and say so."""
        state = outcome(ended.exit_code, wish, artifact_is_whole=_artifact_is_whole(run))
        if state is JobState.finished and not has_task(run):
            self._remember_speed(job, run, ended.progress)
        self._settle(job, run, state, ending(state, ended.exit_code, ended.progress, run))

    def _remember_speed(self, job: Job, run: RunFolder, progress: Progress) -> None:
        """Before the job is called finished: who sees that it is can count on what was learnt from it."""
        try:
            self._trainer.speeds(run).learn(run.read_recipe(), progress)
        except Exception:  # a full disk, a recipe of another version: the job is finished all the same
            log.exception("job %s: how long it took is not remembered", job.id)

    def _settle(self, job: Job, run: RunFolder, state: JobState, message: str) -> None:
        if not self._change_state(job, state, message=message, ended=now(), wish=StopWish.none.value):
            log.warning("job %s is not %s: it is in another state meanwhile", job.id, state.value)
        self._record(job, run)

    def _record(self, job: Job, run: RunFolder) -> None:
        def write() -> None:
            row = self._store.find(job.id)
            if row is not None and row.attempt == job.attempt and run.root.is_dir():
                write_job_file(run, row)

        self._insist(job.id, write)

    def _change_state(self, job: Job, state: JobState, **values: Any) -> bool:
        """Move a job on; not where it was cancelled and resumed meanwhile, and is another attempt's."""
        return self._insist(job.id, lambda: self._store.change_state(job.id, state, of_attempt=job.attempt, **values))

    def _is_anothers(self, job: Job) -> bool:
        row = self._find(job.id)
        return row is not None and row.attempt != job.attempt

    def _find(self, job_id: str) -> Job | None:
        return self._insist(job_id, lambda: self._store.find(job_id))

    def _insist(self, job_id: str, act: Callable[[], _Answer]) -> _Answer:
        """Do what a full disk or a locked database must not prevent; whoever has to go leaves it to the next start."""
        wait_s = _WAIT_S
        while True:
            try:
                return act()
            except Exception:
                log.exception("job %s: trying again in %.0f seconds", job_id, wait_s)
            deadline = time.monotonic() + wait_s
            while time.monotonic() < deadline:
                if self._stop.requested():
                    self._park(job_id)
                time.sleep(POLL_S)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _interrupt(self, job: Job, run: RunFolder) -> NoReturn:
        """The supervisor is told to go: the job waits again, and this thread of the queue never returns from it."""
        self._change_state(job, JobState.waiting, message="Interrupted by a restart; it goes on by itself.")
        self._record(job, run)
        self._park(job.id)

    def _park(self, job_id: str) -> NoReturn:
        """Stay inside the job until the process ends."""
        self._busy.discard(job_id)
        threading.Event().wait()
        raise AssertionError("unreachable")

    def _watch(self, job: Job) -> Watch:
        said, known = "", StopWish.none

        def wish() -> StopWish:
            nonlocal known
            with contextlib.suppress(SQLAlchemyError):  # a database that is lost meanwhile: training goes on
                known = _wish(job, self._store.find(job.id))
            return known

        def note(text: str) -> None:
            nonlocal said
            if text != said:
                self._insist(job.id, lambda: self._store.note(job.id, text))
                said = text

        return Watch(wish, self._stop.requested, note)


def _wish(job: Job, row: Job | None) -> StopWish:
    """What the owner wants of an attempt, as its row says now."""
    if row is None or not row.is_open or row.attempt != job.attempt:  # cancelled before it was said to run
        return StopWish.cancel
    return row.wish


def _check_recipe(run: RunFolder) -> None:
    """Raise RequestError for a job of another machine or version of the app, which cannot be trained here."""
    if not run.root.is_dir():
        raise RequestError(
            "Its files are not on the machine that took it. Where several machines serve one queue, STUDIO_SHARED must "
            "name the same folder on all of them; then Resume goes on."
        )
    try:
        _ = read_task(run) if has_task(run) else run.read_recipe()
    except RecipeError as error:
        raise RequestError(
            f"It was made by another version of this app, and its recipe is not understood here ({error}). Its photos "
            "are kept; train again."
        ) from error


def _artifact_is_whole(run: RunFolder) -> bool:
    try:
        check_hashes(run.artifact, read_manifest(run.artifact))
    except (ConceptError, VerificationError, OSError):
        return False
    return True
