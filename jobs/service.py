"""What the page and the command line do with jobs. Every call that names a job checks whose it is."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from jobs.bill import Bill, write_bill
from jobs.caps import check_caps
from jobs.comparing import SideBySide, side_by_side
from jobs.comparison import Comparison, Order, comparison_of_press, read_comparison, write_comparison
from jobs.deletion import Deletion
from jobs.job_file import write_job_file
from jobs.keeping import Keeping
from jobs.outlook import JobView, Outlook
from jobs.publishing import Publishing
from jobs.queue import Queue, QueueClient
from jobs.remote.record import RemoteRun, Stage, forget_remote, read_remote, write_remote
from jobs.restored_rows import restore_rows
from jobs.run_summary import RunSummary, is_run, summary_of
from jobs.speed import Speeds
from jobs.state import RESUMABLE_STATES, JobState, StopWish
from jobs.store import Job, JobStore, new_job_id, now
from trainer.config import TrainConfig
from trainer.errors import RequestError
from trainer.photos import PhotoSet
from trainer.prepare import prepare_run
from trainer.run_folder import RunFolder
from trainer.task import ExtractTask, ImportTask, extraction_of, has_task, prepare_task


class JobService:
    """Jobs of one data root."""

    def __init__(
        self,
        store: JobStore,
        queue: QueueClient,
        runs_dir: Path,
        speeds: Speeds,
        publishing: Publishing,
        keeping: Keeping,
        *,
        devices: int = 1,
    ) -> None:
        self._store, self._queue, self.runs_dir = store, queue, runs_dir
        self._deletion = Deletion(store, publishing, keeping, runs_dir)
        self.speeds, self.publishing = speeds, publishing
        self._outlook = Outlook(store, runs_dir, speeds, publishing, devices=devices)

    def close(self) -> None:
        """Let go of the database."""
        self._queue.close()
        self._store.close()

    def run_folder(self, job_id: str) -> RunFolder:
        return RunFolder(self.runs_dir / job_id)

    def submit(
        self,
        owner: str,
        recipe: TrainConfig,
        take_photos: Callable[[Path], PhotoSet],
        *,
        press_id: str | None = None,
        bill: Bill | None = None,
        remote: RemoteRun | None = None,
    ) -> Job:
        """Make the run folder and queue the job. Raises RequestError where photos or caps forbid it.

        `press_id` names one press of the button: a second submission with it returns the first one's job, or is refused
        where it asks for something else. `bill` says on what conditions the job may cost money, `remote` sends it to
        Hugging Face instead of training it here.
        """
        job_id = press_id or new_job_id()
        if self._store.find(job_id) is not None:
            return self._pressed_before(job_id, owner, recipe)
        own_open = check_caps(self._store, owner)
        self._prepare(job_id, Order(recipe, bill, remote), take_photos)
        return self._queue_new(job_id, owner, summary_of(recipe), own_open)

    def submit_pair(
        self,
        owner: str,
        orders: tuple[Order, Order],
        take_photos: Callable[[Path], PhotoSet],
        *,
        press_id: str | None = None,
    ) -> Comparison:
        """Queue two trainings on the same photos, to be compared: both or, with a RequestError, neither.

        `press_id` is as for `submit`; the first job has it as its id.
        """
        comparison = comparison_of_press(press_id or new_job_id())
        if self._store.find(comparison.id) is not None:
            for job_id, order in zip(comparison.jobs, orders, strict=True):
                self._pressed_before(job_id, owner, order.recipe)
            return comparison
        own_open = check_caps(self._store, owner, coming=2)
        with contextlib.ExitStack() as undo:
            for job_id, order in zip(comparison.jobs, orders, strict=True):
                run = self._prepare(job_id, order, take_photos)
                undo.callback(shutil.rmtree, run.root, ignore_errors=True)
                write_comparison(run, comparison)
            undo.pop_all()
        jobs = [
            _new_job(job_id, owner, summary_of(order.recipe), own_open + number)
            for number, (job_id, order) in enumerate(zip(comparison.jobs, orders, strict=True))
        ]
        self._queue_all(*jobs)
        return comparison

    def _pressed_before(self, job_id: str, owner: str, recipe: TrainConfig) -> Job:
        """The job of a button that is pressed again. Raises RequestError where another recipe came with this press."""
        job = self._store.get(job_id, owner=owner)
        if self.run_folder(job_id).read_recipe() != recipe:
            raise RequestError(f"These photos went into the job {job.title} already. Add them again to train another.")
        return job

    def _prepare(self, job_id: str, order: Order, take_photos: Callable[[Path], PhotoSet]) -> RunFolder:
        """The run folder of a training that is not queued yet."""
        run, _ = prepare_run(self.run_folder(job_id).root, order.recipe, take_photos)
        if order.bill is not None:
            write_bill(run, order.bill)
        if order.remote is not None:
            write_remote(run, order.remote)
        return run

    def submit_task(
        self, owner: str, task: ImportTask | ExtractTask, file: Path | None = None, *, press_id: str | None = None
    ) -> Job:
        """Queue a concept to be taken in, or a LoRA to be extracted. Raises RequestError where caps forbid it.

        `file` is copied into the run folder; `press_id` is as for `submit`.
        """
        job_id = press_id or new_job_id()
        if (earlier := self._store.find(job_id)) is not None:
            return self._store.get(earlier.id, owner=owner)
        own_open = check_caps(self._store, owner)
        prepare_task(self.run_folder(job_id).root, task, file)
        return self._queue_new(job_id, owner, summary_of(task), own_open)

    def extract(self, job_id: str, owner: str, rank: int) -> Job:
        """Queue the extraction of a LoRA from the full model that a job left. Raises RequestError or ConceptError."""
        job = self._store.visible(job_id, owner)
        return self.submit_task(owner, extraction_of(self.run_folder(job.id).root, rank))

    def _queue_new(self, job_id: str, owner: str, summary: RunSummary, own_open: int) -> Job:
        """The row, the file and the place in the queue of a run folder that was just prepared."""
        job = _new_job(job_id, owner, summary, own_open)
        self._queue_all(job)
        return job

    def _queue_all(self, *jobs: Job) -> None:
        """Files first: should the rows not be written, the next start makes them from the files."""
        for job in jobs:
            write_job_file(self.run_folder(job.id), job)
        self._store.add(*jobs)
        for job in jobs:
            self._enqueue(job)

    def _enqueue(self, job: Job) -> None:
        queue = Queue.remote if self.remote_run(job.id) else Queue.training
        self._queue.enqueue(job.id, attempt=job.attempt, priority=job.priority, queue=queue)

    def remote_run(self, job_id: str) -> RemoteRun | None:
        """Where a job trains at Hugging Face; None where it trains on this machine."""
        return read_remote(self.run_folder(job_id))

    def job(self, job_id: str, owner: str) -> Job:
        """The row of one job that this owner may look at. Raises RequestError where there is none."""
        return self._store.visible(job_id, owner)

    def view(self, job_id: str, owner: str) -> JobView:
        """One job that this owner may look at. Raises RequestError where there is none."""
        return self._outlook.views([self._store.visible(job_id, owner)])[0]

    def views(self, owner: str) -> list[JobView]:
        """All jobs that this owner may look at, newest first."""
        return self._outlook.views(self._store.visible_to(owner))

    def ended(self, owner: str) -> list[Job]:
        """The rows of all jobs that are over and that this owner may look at, newest first."""
        return [job for job in self._store.visible_to(owner) if not job.is_open]

    def everybodys_views(self) -> list[JobView]:
        """All jobs, for the command line of the machine's owner."""
        return self._outlook.views(self._store.all_jobs())

    def compare(self, left_id: str, right_id: str, owner: str) -> SideBySide:
        """Two jobs that this owner may look at, side by side. Raises RequestError where either is missing."""
        left, right = self.view(left_id, owner), self.view(right_id, owner)
        return side_by_side(left, right, self.run_folder)

    def compared_with(self, job_id: str, owner: str) -> str | None:
        """The job that was queued together with this one, if it is still there. Raises RequestError as `job` does."""
        comparison = read_comparison(self.run_folder(self.job(job_id, owner).id))
        other = self._store.find(comparison.other(job_id)) if comparison is not None else None
        return other.id if other is not None and other.owner == self.owner_of(job_id) else None

    def ahead(self) -> tuple[int, float | None]:
        """How many jobs a new one would come after, and how long they should take, where that is known."""
        return self._outlook.ahead()

    def adopt(self, old: str, new: str) -> None:
        """Give an owner's jobs to another."""
        for job in self._store.visible_to(old):
            if job.owner == old:
                self._store.change_owner(job.id, new)
                self._record(job.id)

    def owners(self) -> set[str]:
        """Everybody who has a job."""
        return {job.owner for job in self._store.all_jobs()}

    def knows(self, job_id: str) -> bool:
        """Whether there is such a job, whosever it is."""
        return self._store.find(job_id) is not None

    def owner_of(self, job_id: str) -> str:
        return self._store.get(job_id).owner

    def cancel(self, job_id: str, owner: str) -> None:
        """Cancel: a waiting job at once, a running one when its process has ended; an ended one stays as it is."""
        job = self._store.get(job_id, owner=owner)
        if job.state is JobState.waiting and self._store.change_state(
            job.id, JobState.cancelled, message="Cancelled while waiting.", ended=now()
        ):
            self._queue.withdraw(job.id, attempt=job.attempt)
            self._record(job.id)
        else:
            self._store.set_wish(job.id, StopWish.cancel)

    def stop_and_keep(self, job_id: str, owner: str) -> None:
        """Stop a running job; what was learnt so far is exported and verified. Raises RequestError for a task."""
        job = self._store.get(job_id, owner=owner)
        if has_task(self.run_folder(job.id)):
            raise RequestError("This job does not learn, so there is nothing to keep yet. Cancel ends it.")
        self._store.set_wish(job.id, StopWish.keep)

    def resume(self, job_id: str, owner: str, *, here: bool = False) -> None:
        """Queue a stopped, failed or cancelled job again; it goes on from its newest checkpoint.

        `here`: on this machine, wherever it trained before.
        """
        job = self._store.get(job_id, owner=owner)
        if job.state not in RESUMABLE_STATES:
            raise RequestError(f"This job is {job.state.value}; there is nothing to resume.")
        if not is_run(self.run_folder(job.id)):
            raise RequestError("The files of this job are gone; train again.")
        priority = check_caps(self._store, owner) + 1
        changed = self._store.change_state(
            job.id,
            JobState.waiting,
            wish=StopWish.none.value,
            attempt=job.attempt + 1,
            priority=priority,
            queued=now(),
            ended=None,
        )
        if changed:
            run, remote = self.run_folder(job.id), self.remote_run(job.id)
            if remote is not None and here:
                forget_remote(run)
            elif remote is not None and remote.stage is Stage.over:  # else its Job may still run, and is found again
                write_remote(run, remote.again(asked=True))
            self._record(job.id)
            self._enqueue(self._store.get(job.id))

    def delete(self, job_id: str, owner: str) -> None:
        """Forget an ended job and remove its files, photos included."""
        job = self._store.get(job_id, owner=owner)
        if job.is_open:
            raise RequestError("This job is still open; cancel it first.")
        self._deletion.delete(job.id)

    def _record(self, job_id: str) -> None:
        write_job_file(self.run_folder(job_id), self._store.get(job_id))

    def rebuild(self) -> int:
        """Make files, rows and queue agree after a kill or a lost database; returns how many jobs got a row again."""
        self._deletion.finish()
        restored = restore_rows(self._store, self.publishing, self.runs_dir, enqueue=self._enqueue)
        self.queue_waiting()
        return restored

    def queue_waiting(self) -> None:
        """Queue every job that waits: one may have lost its place, or never got one. Queued twice it is queued once.

        Where the database is away nothing happens; the next time will do.
        """
        with contextlib.suppress(SQLAlchemyError):
            for job in self._store.in_state(JobState.waiting):
                self._enqueue(job)


def _new_job(job_id: str, owner: str, summary: RunSummary, own_open: int) -> Job:
    """The row of a job that waits; who has many open ones is served after who has few."""
    moment = now()
    return Job(
        id=job_id,
        owner=owner,
        title=summary.name,
        **asdict(summary),
        state=JobState.waiting,
        wish=StopWish.none,
        priority=own_open + 1,
        attempt=1,
        created=moment,
        queued=moment,
        started=None,
        ended=None,
        message="",
    )
