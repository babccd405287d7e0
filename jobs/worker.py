"""The supervisor of one device: takes jobs from the queue and runs each in a child process that trains."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from jobs.job_file import count_try, write_job_file
from jobs.progress import Progress, read_progress
from jobs.queue import QueueWorker
from jobs.run_summary import finished_words
from jobs.speed import Speeds
from jobs.state import JobState, StopWish, explain_exit, outcome
from jobs.store import Job, JobStore, new_job_id, now, open_engine
from trainer.artifact import check_hashes, read_manifest
from trainer.devices import Device
from trainer.errors import BusyError, ConceptError, VerificationError
from trainer.events import read_events
from trainer.lease import DeviceLease
from trainer.process import GRACE_S, KEEP_SIGNAL, Child, StopSignal, spawn
from trainer.run_folder import RunFolder, hold_lock, write_whole
from trainer.settings import Settings, process_environment
from trainer.task import has_task

log = logging.getLogger(__name__)
MAX_TRIES = 3
_POLL_S = 0.3


@dataclass(frozen=True)
class _Ended:
    """How a child ended."""

    exit_code: int
    progress: Progress


class Supervisor:
    """Serves one device until it is told to stop; a job in progress is then checkpointed and waits again."""

    def __init__(self, settings: Settings, device: Device) -> None:
        self._settings, self._device = settings, device
        self._store = JobStore(open_engine(settings.jobs_database_url))
        self._speeds = Speeds(settings.home / "speeds.json")
        self._lease = DeviceLease(settings.runtime_dir, device)
        self._stop = StopSignal()
        self._child: Child | None = None
        self._idle = threading.Event()
        self._idle.set()

    def serve(self) -> None:
        """Run until a stop is requested. Raises BusyError where another supervisor serves the device."""
        self._stop.install()
        self._settings.runtime_dir.mkdir(parents=True, exist_ok=True)
        with hold_lock(self._settings.runtime_dir / f"{self._device.key}.lock", what=self._device.label):
            queue = QueueWorker(
                self._settings.jobs_database_url, executor_id=self._executor_id(), run_job=self._run_job
            )
            queue.start()
            log.info("%s is served by pid %d", self._device.label, os.getpid())
            while not self._stop.requested():
                time.sleep(_POLL_S)
            self._leave()

    def _leave(self) -> None:
        """End the child within the grace period and go, leaving the job for the next start.

        The queue's thread is still inside the job, and must stay there: a step that returned would count as done. So
        the process ends without unwinding.
        """
        if (child := self._child) is not None:
            child.end(GRACE_S)
        self._idle.wait(2.0)
        os._exit(0)

    def _executor_id(self) -> str:
        """The same after every restart of this device's supervisor, or its interrupted job would stay pending."""
        file = self._settings.runtime_dir / f"{self._device.key}.executor"
        if not file.exists():
            write_whole(file, f"{self._device.key}-{new_job_id()}")
        return file.read_text(encoding="utf-8")

    def _run_job(self, job_id: str) -> None:
        """One job, from its start to its final state; called by the queue, and again after a crash of this process."""
        job = self._store.find(job_id)
        if job is None or not job.is_open:
            return
        run = RunFolder(self._settings.runs_dir / job_id)
        self._idle.clear()
        try:
            with self._lease.for_training(lambda: self._wish(job_id) is StopWish.cancel):
                self._attempt_until_settled(job, run)
        except OSError as error:
            log.exception("job %s", job_id)
            self._settle(job_id, run, JobState.failed, f"The job's files cannot be used: {error}")
        finally:
            self._idle.set()

    def _attempt_until_settled(self, job: Job, run: RunFolder) -> None:
        """Run the child; one that a signal killed runs again, until three starts brought no new checkpoint."""
        last_exit = 0
        while True:
            if self._wish(job.id) is StopWish.cancel:
                self._settle(job.id, run, JobState.cancelled, "Cancelled.")
                return
            progress = read_progress(read_events(run.events_file))
            if count_try(run, job, progress.checkpoint_step) > MAX_TRIES:
                reason = explain_exit(last_exit) if last_exit else "It was interrupted each time."
                text = f"Started {MAX_TRIES} times without getting further. {reason} The log holds the details."
                self._settle(job.id, run, JobState.failed, text)
                return
            self._store.change_state(job.id, JobState.running, message=_resuming(progress), started=now())
            ended = self._run_child(job.id, run)
            wish = self._wish(job.id)
            if self._stop.requested() and wish is not StopWish.cancel:
                self._interrupt(job.id, run)
            if ended.exit_code >= 0 or wish is not StopWish.none:
                self._conclude(job.id, run, ended, wish)
                return
            last_exit = ended.exit_code
            self._store.change_state(
                job.id, JobState.waiting, message="Interrupted; going on from the last checkpoint."
            )

    def _run_child(self, job_id: str, run: RunFolder) -> _Ended:
        """Train in a child process until it ends, passing the owner's wishes on."""
        _wait_for_predecessor(run)
        environment = process_environment()
        if self._device.index is not None:
            environment["CUDA_VISIBLE_DEVICES"] = str(self._device.index)
        arguments = ["trainer", "resume", str(run.root), "--watch-parent"]
        self._child = child = spawn(arguments, environment=environment, log=run.log_file)
        if self._stop.requested():  # it came while the child started, when there was nothing to pass it on to
            child.end()
        passed_on = StopWish.none
        while (code := child.wait(_POLL_S)) is None:
            wish = self._wish(job_id)
            if wish is not passed_on:
                passed_on = wish
                if wish is StopWish.cancel:
                    child.end()
                elif wish is StopWish.keep:
                    child.signal(KEEP_SIGNAL)
        self._child = None
        return _Ended(code, read_progress(read_events(run.events_file)))

    def _conclude(self, job_id: str, run: RunFolder, ended: _Ended, wish: StopWish) -> None:
        """Decide what the end of the child means, and say so."""
        state = outcome(ended.exit_code, wish, artifact_is_whole=_artifact_is_whole(run))
        message = _message(state, ended, run)
        if state is JobState.finished and not has_task(run):
            self._speeds.learn(run.read_recipe(), ended.progress)
        self._settle(job_id, run, state, message)

    def _settle(self, job_id: str, run: RunFolder, state: JobState, message: str) -> None:
        self._store.change_state(job_id, state, message=message, ended=now(), wish=StopWish.none.value)
        if (job := self._store.find(job_id)) is not None and run.root.is_dir():
            write_job_file(run, job)

    def _interrupt(self, job_id: str, run: RunFolder) -> NoReturn:
        """The supervisor is told to go: the job waits again, and this thread of the queue never returns from it."""
        self._store.change_state(job_id, JobState.waiting, message="Interrupted by a restart; it goes on by itself.")
        if (job := self._store.find(job_id)) is not None:
            write_job_file(run, job)
        self._idle.set()
        threading.Event().wait()
        raise AssertionError("unreachable")

    def _wish(self, job_id: str) -> StopWish:
        job = self._store.find(job_id)
        return job.wish if job is not None else StopWish.cancel


def _wait_for_predecessor(run: RunFolder) -> None:
    """A child of a supervisor that was killed may still be writing its checkpoint: wait for it, then end it."""
    lock = run.root / ".lock"
    for patience in (GRACE_S, 5.0):
        deadline = time.monotonic() + patience
        while (pid := _locked_by(lock)) is not None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        if pid is None:
            return
        log.warning("killing pid %d, which still holds %s", pid, run.root)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _locked_by(lock: Path) -> int | None:
    """The live holder of a run's lock, if there is one."""
    if not lock.exists():
        return None
    try:
        with hold_lock(lock, what=str(lock)):
            return None
    except BusyError as error:
        return error.pid


def _artifact_is_whole(run: RunFolder) -> bool:
    try:
        check_hashes(run.artifact, read_manifest(run.artifact))
    except (ConceptError, VerificationError, OSError):
        return False
    return True


def _resuming(progress: Progress) -> str:
    if not progress.checkpoint_step:
        return ""
    return f"Interrupted at step {progress.step} of {progress.total}; going on from step {progress.checkpoint_step}."


def _message(state: JobState, ended: _Ended, run: RunFolder) -> str:
    """A sentence about the end of a job."""
    progress = ended.progress
    match state:
        case JobState.finished:
            return finished_words(run)
        case JobState.cancelled:
            return f"Cancelled at step {progress.step}."
        case JobState.stopped:
            return f"Stopped at step {progress.step} of {progress.total}; what was learnt so far is kept."
        case _ if progress.failure is not None:
            return f"{progress.failure.cause} {progress.failure.advice}".strip()
        case _:
            return explain_exit(ended.exit_code)
