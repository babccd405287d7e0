"""What the page and the command line do with publications. Calls that take an owner check whose a job is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from jobs.publishing.publish import Published, check_repo_id
from jobs.record.publications import (
    NOT_IN_WORK,
    REVOCABLE,
    Publication,
    PublicationState,
    PublicationStore,
)
from jobs.record.store import JobStore
from trainer.errors import RequestError
from trainer.run_folder import RunFolder


class Publishing:
    """Publications of one data root; the publisher process carries them out."""

    def __init__(self, jobs: JobStore, publications: PublicationStore, runs_dir: Path) -> None:
        self._jobs, self._publications, self._runs_dir = jobs, publications, runs_dir

    def of(self, job_id: str) -> Publication | None:
        return self._publications.find(job_id)

    def of_all(self, job_ids: Iterable[str]) -> dict[str, Publication]:
        """Publications by job, of those that have one."""
        return self._publications.find_all(job_ids)

    def is_at(self, job_id: str, repo_id: str) -> bool:
        """Whether a job's concept was published in this repository."""
        publication = self._publications.find(job_id)
        if publication is None or publication.state is not PublicationState.published:
            return False
        return publication.repo_id == repo_id

    def ask(self, job_id: str, owner: str, repo_id: str, *, private: bool) -> Publication:
        """Publish a job's concept as soon as it is done. Raises RequestError for a name that the Hub does not allow."""
        job = self._jobs.get(job_id, owner=owner)
        run = RunFolder(self._runs_dir / job.id)
        if not job.is_open and not run.has_result:
            raise RequestError("This job left no concept that could be published.")
        publication = Publication(job.id, check_repo_id(repo_id), private)
        if not self._publications.put(publication, run, in_place_of=NOT_IN_WORK):
            raise RequestError("It is being published right now.")
        return publication

    def record(self, job_id: str, repo_id: str, published: Published, *, private: bool) -> None:
        """Write down that a job's concept is on the Hub, for whoever published it without the publisher.

        Where the publisher has it in work it writes down what becomes of that itself.
        """
        done = Publication(
            job_id, repo_id, private, PublicationState.published, url=published.url, commit=published.commit
        )
        self._publications.put(done, RunFolder(self._runs_dir / job_id), in_place_of=NOT_IN_WORK)

    def retry(self, job_id: str, owner: str) -> None:
        """Try again at once: after signing in, or sooner than planned. One that is done or in work stays as it is."""
        job = self._jobs.get(job_id, owner=owner)
        at_once = {"note": "", "next_try": 0.0, "tries": 0}
        again = self._publications.change(job.id, PublicationState.waiting, out_of=REVOCABLE, **at_once)
        if again is not None:
            self._publications.write_file(again, RunFolder(self._runs_dir / job.id))
        elif self._publications.find(job.id) is None:
            raise RequestError("This job was never meant to be published.")

    def withdraw(self, job_id: str, owner: str) -> None:
        """Do not publish it after all. Raises RequestError for one that is on its way, or there."""
        job = self._jobs.get(job_id, owner=owner)
        if not self._publications.withdraw(job.id, RunFolder(self._runs_dir / job.id)):
            raise RequestError("It is not waiting to be published any more: look at what became of it.")

    def retry_after_sign_in(self, owner: str) -> None:
        """Go on with what waited for this owner to sign in."""
        for publication in self._publications.in_state(PublicationState.needs_sign_in):
            job = self._jobs.find(publication.job_id)
            if job is not None and job.owner == owner:
                self.retry(job.id, owner)

    def forget(self, job_id: str) -> None:
        """Drop the row with its job; what is on the Hub stays there."""
        self._publications.delete(job_id)

    def restore(self, run: RunFolder) -> None:
        """Bring back the row of a run folder after the database was lost."""
        self._publications.restore(run)
