"""What the page and the command line do with jobs. Every call that names a job checks whose it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.bill import Bill, write_bill
from jobs.job_file import JobFile, read_job_file, write_job_file
from jobs.keeping import Keeping
from jobs.progress import Progress, read_progress
from jobs.publications import Publication
from jobs.publishing import Publishing
from jobs.queue import QueueClient
from jobs.speed import Speeds
from jobs.state import OPEN_STATES, RESUMABLE_STATES, JobState, StopWish
from jobs.store import Job, JobStore, new_job_id, now, waiting_place
from trainer.config import TrainConfig
from trainer.errors import RecipeError, RequestError
from trainer.events import read_events
from trainer.photos import PhotoSet
from trainer.prepare import prepare_run
from trainer.run_folder import RunFolder

MAX_OPEN_PER_OWNER = 8
MAX_OPEN = 200


@dataclass(frozen=True)
class JobView:
    """A job with everything that a screen shows of it."""

    job: Job
    progress: Progress
    place: int | None
    """1 = next, while it waits."""
    starts_in_s: float | None
    total_s: float | None
    """How long the whole run should take, where that is known."""
    publication: Publication | None


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
    ) -> None:
        self._store, self._queue, self._runs_dir, self._keeping = store, queue, runs_dir, keeping
        self.speeds, self.publishing = speeds, publishing

    def close(self) -> None:
        """Let go of the database."""
        self._queue.close()
        self._store.close()

    def run_folder(self, job_id: str) -> RunFolder:
        return RunFolder(self._runs_dir / job_id)

    def submit(
        self,
        owner: str,
        recipe: TrainConfig,
        take_photos: Callable[[Path], PhotoSet],
        *,
        press_id: str | None = None,
        bill: Bill | None = None,
    ) -> Job:
        """Make the run folder and queue the job. Raises RequestError where photos or caps forbid it.

        `press_id` names one press of the button: a second submission with it returns the first one's job. `bill` says
        on what conditions the job may cost money.
        """
        job_id = press_id or new_job_id()
        if (earlier := self._store.find(job_id)) is not None:
            return self._store.get(earlier.id, owner=owner)
        own_open = self._check_caps(owner)
        prepare_run(self.run_folder(job_id).root, recipe, take_photos)
        moment = now()
        job = Job(
            id=job_id,
            owner=owner,
            title=recipe.name,
            name=recipe.name,
            method=recipe.method.value,
            kind=recipe.kind.value,
            base=recipe.base,
            steps=recipe.steps,
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
        write_job_file(self.run_folder(job_id), job)
        if bill is not None:
            write_bill(self.run_folder(job_id), bill)
        self._store.add(job)
        self._queue.enqueue(job.id, attempt=job.attempt, priority=job.priority)
        return job

    def _check_caps(self, owner: str) -> int:
        """How many open jobs the owner has. Raises RequestError at a cap."""
        open_jobs = self._store.in_state(*OPEN_STATES)
        own = sum(job.owner == owner for job in open_jobs)
        if own >= MAX_OPEN_PER_OWNER:
            raise RequestError(f"You have {own} jobs waiting or running; wait for one to end, or cancel one.")
        if len(open_jobs) >= MAX_OPEN:
            raise RequestError("The queue is full. Please come back in a while; nothing was queued.")
        return own

    def job(self, job_id: str, owner: str) -> Job:
        """The row of one job that this owner may look at. Raises RequestError where there is none."""
        return self._store.visible(job_id, owner)

    def view(self, job_id: str, owner: str) -> JobView:
        """One job that this owner may look at. Raises RequestError where there is none."""
        return self._views([self._store.visible(job_id, owner)])[0]

    def views(self, owner: str) -> list[JobView]:
        """All jobs that this owner may look at, newest first."""
        return self._views(self._store.visible_to(owner))

    def everybodys_views(self) -> list[JobView]:
        """All jobs, for the command line of the machine's owner."""
        return self._views(self._store.all_jobs())

    def adopt(self, old: str, new: str) -> None:
        """Give an owner's jobs to another."""
        for job in self._store.visible_to(old):
            if job.owner == old:
                self._store.change_owner(job.id, new)
                self._record(job.id)

    def owner_of(self, job_id: str) -> str:
        return self._store.get(job_id).owner

    def _views(self, jobs: list[Job]) -> list[JobView]:
        waiting = self._store.in_state(JobState.waiting)
        ahead_s = self._seconds_of_running() if waiting else 0.0
        starts: dict[str, float | None] = {}
        clock: float | None = ahead_s
        for job in waiting:
            starts[job.id] = clock
            estimate = self._estimate(job.id)
            clock = clock + estimate if clock is not None and estimate is not None else None
        publications = self.publishing.of_all(job.id for job in jobs)
        return [
            JobView(
                job,
                read_progress(read_events(self.run_folder(job.id).events_file)),
                waiting_place(waiting, job.id),
                starts.get(job.id),
                self._estimate(job.id) if job.is_open else None,
                publications.get(job.id),
            )
            for job in jobs
        ]

    def ahead(self) -> tuple[int, float | None]:
        """How many jobs a new one would come after, and how long they should take, where that is known."""
        seconds = self._seconds_of_running()
        waiting = self._store.in_state(JobState.waiting)
        for job in waiting:
            estimate = self._estimate(job.id)
            seconds = seconds + estimate if seconds is not None and estimate is not None else None
        return len(waiting) + len(self._store.in_state(JobState.running, JobState.stopping)), seconds

    def _seconds_of_running(self) -> float | None:
        left = 0.0
        for job in self._store.in_state(JobState.running, JobState.stopping):
            eta = read_progress(read_events(self.run_folder(job.id).events_file)).eta_s
            estimate = eta if eta is not None else self._estimate(job.id)
            if estimate is None:
                return None
            left += estimate
        return left

    def _estimate(self, job_id: str) -> float | None:
        try:
            estimate = self.speeds.estimate_s(self.run_folder(job_id).read_recipe())
        except (RequestError, RecipeError):
            return None
        return estimate[0] if estimate else None

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
        """Stop a running job; what was learnt so far is exported and verified."""
        job = self._store.get(job_id, owner=owner)
        self._store.set_wish(job.id, StopWish.keep)

    def resume(self, job_id: str, owner: str) -> None:
        """Queue a stopped, failed or cancelled job again; it goes on from its newest checkpoint."""
        job = self._store.get(job_id, owner=owner)
        if job.state not in RESUMABLE_STATES:
            raise RequestError(f"This job is {job.state.value}; there is nothing to resume.")
        if not self.run_folder(job.id).config_file.exists():
            raise RequestError("The files of this job are gone; train again.")
        priority = self._check_caps(owner) + 1
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
            self._record(job.id)
            self._queue.enqueue(job.id, attempt=job.attempt + 1, priority=priority)

    def delete(self, job_id: str, owner: str) -> None:
        """Forget an ended job and remove its files, photos included."""
        job = self._store.get(job_id, owner=owner)
        if job.is_open:
            raise RequestError("This job is still open; cancel it first.")
        self._keeping.forget(job.id)
        self._store.delete(job.id)
        self.publishing.forget(job.id)
        shutil.rmtree(self.run_folder(job.id).root, ignore_errors=True)

    def _record(self, job_id: str) -> None:
        write_job_file(self.run_folder(job_id), self._store.get(job_id))

    def rebuild(self) -> int:
        """Add rows for run folders whose job the table does not know (a lost database); returns how many."""
        added = 0
        for file, run in self._lost():
            try:
                recipe = run.read_recipe()
            except RequestError:
                continue
            was_open = file.state in OPEN_STATES
            job = Job(
                id=file.id,
                owner=file.owner,
                title=file.title,
                name=recipe.name,
                method=recipe.method.value,
                kind=recipe.kind.value,
                base=recipe.base,
                steps=recipe.steps,
                state=JobState.waiting if was_open else file.state,
                wish=StopWish.none,
                priority=file.priority if file.state is JobState.waiting else 1,
                attempt=file.attempt + 1,
                created=file.created,
                queued=file.queued or file.created,
                started=None,
                ended=None if was_open else file.created,
                message="Restored from its files.",
            )
            self._store.add(job)
            self.publishing.restore(run)
            if was_open:
                self._queue.enqueue(job.id, attempt=job.attempt, priority=job.priority)
            added += 1
        return added

    def _lost(self) -> list[tuple[JobFile, RunFolder]]:
        """Jobs without a row, in the order in which the queue served them: what was being trained, then who waited."""
        runs = [RunFolder(root) for root in self._runs_dir.iterdir()] if self._runs_dir.is_dir() else []
        found = [(file, run) for run in runs if (file := read_job_file(run)) is not None and file.id == run.root.name]
        lost = [(file, run) for file, run in found if self._store.find(file.id) is None]
        return sorted(lost, key=lambda entry: (entry[0].state is JobState.waiting, entry[0].priority, entry[0].queued))
