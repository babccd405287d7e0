"""What the page and the command line do with jobs.

Calls that take an owner check whose a job is; those that take none are for the machine's own processes and commands.
"""

from __future__ import annotations

from pathlib import Path

from jobs.deletion import Deletion
from jobs.mirror.keeping import Keeping
from jobs.publishing.service import Publishing
from jobs.queueing.fleet import Fleet
from jobs.queueing.job_queue import JobQueue
from jobs.queueing.turns import own_before, turn
from jobs.record.comparison import read_comparison
from jobs.record.job_file import record_owner, record_wish, write_job_file
from jobs.record.remote_run import RemoteRun, Stage, forget_remote, read_remote, read_remote_for_certain, write_remote
from jobs.record.run_summary import is_run
from jobs.record.state import RESUMABLE_STATES, JobState, StopWish
from jobs.record.store import Job, JobStore, now
from jobs.restored_rows import restore_rows
from jobs.runs.speed import Speeds
from jobs.submission.caps import check_caps
from jobs.submission.submitting import Submitting
from jobs.views.comparing import SideBySide, side_by_side
from jobs.views.outlook import JobView, Outlook
from trainer.errors import RequestError
from trainer.events import Warned
from trainer.imports.task import extraction_of, has_task
from trainer.quantities import duration
from trainer.run_folder import RunFolder


class JobService:
    """Jobs of one data root."""

    def __init__(
        self,
        store: JobStore,
        queue: JobQueue,
        runs_dir: Path,
        speeds: Speeds,
        publishing: Publishing,
        keeping: Keeping,
        fleet: Fleet,
    ) -> None:
        self._store, self.queue, self.runs_dir = store, queue, runs_dir
        self._deletion = Deletion(store, publishing, keeping, runs_dir)
        self.speeds, self.publishing, self.fleet = speeds, publishing, fleet
        self.submitting = Submitting(store, runs_dir, queue.enqueue, fleet.check_folder)
        self._outlook = Outlook(store, runs_dir, speeds, publishing, fleet.size)

    def close(self) -> None:
        """Let go of the database."""
        self.queue.close()

    def run_folder(self, job_id: str) -> RunFolder:
        return RunFolder(self.runs_dir / job_id)

    def extract(self, job_id: str, owner: str, rank: int) -> Job:
        """Queue the extraction of a LoRA from the full model that a job left. Raises RequestError or ConceptError."""
        job = self._store.visible(job_id, owner)
        return self.submitting.submit_task(owner, extraction_of(self.run_folder(job.id).root, rank))

    def remote_run(self, job_id: str) -> RemoteRun | None:
        """Where a job trains at Hugging Face; None where it trains on this machine."""
        return read_remote(self.run_folder(job_id))

    def remote_for_certain(self, job_id: str) -> RemoteRun | None:
        """The same, before something is done that would forget a Job. Raises RequestError where it cannot be told."""
        try:
            return read_remote_for_certain(self.run_folder(job_id))
        except OSError as error:
            raise RequestError(
                "The files of this job cannot be read at the moment, so nothing was done. Please try again in a while."
            ) from error

    def any_remote(self) -> bool:
        """Whether any job is at Hugging Face, or has left anything there. Raises OSError where that cannot be told."""
        found = ((job, read_remote_for_certain(self.run_folder(job.id))) for job in self._store.all_jobs())
        return any(remote is not None and (job.is_open or remote.may_cost) for job, remote in found)

    def job(self, job_id: str, owner: str) -> Job:
        """The row of one job that this owner may look at. Raises RequestError where there is none."""
        return self._store.visible(job_id, owner)

    def view(self, job_id: str, owner: str) -> JobView:
        """One job that this owner may look at. Raises RequestError where there is none."""
        return self._outlook.views([self._store.visible(job_id, owner)])[0]

    def views(self, owner: str) -> list[JobView]:
        """The jobs that this owner may look at, newest first."""
        return self._outlook.views(self.rows(owner))

    def views_of(self, rows: list[Job]) -> list[JobView]:
        """Some of an owner's `rows`, with all that is shown of them."""
        return self._outlook.views(rows)

    def rows(self, owner: str) -> list[Job]:
        """The rows of all jobs that this owner may look at, newest first."""
        return self._store.visible_to(owner)

    def ended(self, owner: str) -> list[Job]:
        """Those of `rows` that are over."""
        return [job for job in self.rows(owner) if not job.is_open]

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
                record_owner(self.run_folder(job.id), new)

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
        remote = self.remote_for_certain(job.id) if job.state is JobState.waiting else None
        if remote is not None and remote.may_cost:  # whoever takes it up again ends its Job first
            self._store.change_state(job.id, JobState.running, out_of=[JobState.waiting], of_attempt=job.attempt)
        elif self._store.change_state(  # not where it was taken up meanwhile: a process may have its files already
            job.id,
            JobState.cancelled,
            out_of=[JobState.waiting],
            of_attempt=job.attempt,
            message="Cancelled while waiting.",
            ended=now(),
        ):
            self.queue.withdraw(job)
            self._record(job.id)
            return
        self._wish(job.id, StopWish.cancel)

    def stop_and_keep(self, job_id: str, owner: str) -> None:
        """Stop a running job; what was learnt so far is exported and verified. Raises RequestError for a task."""
        job = self._store.get(job_id, owner=owner)
        if has_task(self.run_folder(job.id)):
            raise RequestError("This job does not learn, so there is nothing to keep yet. Cancel ends it.")
        if not self._wish(job.id, StopWish.keep) and self._store.get(job.id).state is JobState.waiting:
            raise RequestError("It is not being trained yet, so there is nothing to keep. Cancel takes it away.")

    def _wish(self, job_id: str, wish: StopWish) -> bool:
        if is_set := self._store.set_wish(job_id, wish):
            record_wish(self.run_folder(job_id), wish)
        return is_set

    def resume(self, job_id: str, owner: str, *, here: bool = False, next_remote: RemoteRun | None = None) -> None:
        """Queue a stopped, failed or cancelled job again; it goes on from its newest checkpoint.

        `here`: on this machine, wherever it trained before. `next_remote`: the record of its next start at Hugging
        Face, where its price was asked for anew.
        """
        job = self._store.get(job_id, owner=owner)
        if job.state not in RESUMABLE_STATES:
            raise RequestError(f"This job is {job.state.value}; there is nothing to resume.")
        self.fleet.check_folder()
        if not is_run(self.run_folder(job.id)):
            raise RequestError("The files of this job are gone; train again.")
        remote = self.remote_for_certain(job.id)
        if here:
            _check_nothing_costs(job, remote)
        own, moment = check_caps(self._store, owner), now()
        own_open = own_before(own, self.runs_dir, remote=remote is not None and not here)
        changed = self._store.change_state(
            job.id,
            JobState.waiting,
            out_of=RESUMABLE_STATES,
            wish=StopWish.none.value,
            attempt=job.attempt + 1,
            priority=turn(moment, own_open),
            queued=moment,
            ended=None,
        )
        if changed:
            run = self.run_folder(job.id)
            if remote is not None and here:
                if remote.may_cost:
                    run.events(Warned(text=f"{remote.left_behind(job.id)} Delete it there."))
                forget_remote(run)
            elif next_remote is not None:
                write_remote(run, next_remote)
            elif remote is not None and remote.stage is Stage.over:  # else its Job may still run, and is found again
                write_remote(run, remote.again(asked=True))
            self._record(job.id)
            self.queue.enqueue(self._store.get(job.id))

    def delete(self, job_id: str, owner: str) -> None:
        """Forget an ended job and remove its files, photos included."""
        job = self._store.get(job_id, owner=owner)
        if job.is_open:
            raise RequestError("This job is still open; cancel it first.")
        self.fleet.check_folder()
        _check_nothing_costs(job, self.remote_for_certain(job.id))
        if self.run_folder(job.id).is_held():
            raise RequestError("A process still works on its files; delete it in a while.")
        self._deletion.delete(job.id)

    def _record(self, job_id: str) -> None:
        write_job_file(self.run_folder(job_id), self._store.get(job_id))

    def rebuild(self) -> int:
        """Make files, rows and queue agree after a kill or a lost database; returns how many jobs got a row again."""
        self._deletion.finish()
        self.submitting.remove_leftovers()
        restored = restore_rows(self._store, self.publishing, self.runs_dir, enqueue=self.queue.enqueue)
        self.queue.add_missing()
        return restored


def _check_nothing_costs(job: Job, remote: RemoteRun | None) -> None:
    """Raise RequestError where a Job or photos at Hugging Face would be forgotten, until the Job must be over."""
    if remote is not None and remote.may_cost and (wait_s := remote.awaited_until(job.queued) - now()) > 0:
        raise RequestError(
            "Its Job at Hugging Face may still run, and its photos lie there. Resume it there and cancel it first, or "
            f"come back in {duration(wait_s)}, when it must be over."
        )
