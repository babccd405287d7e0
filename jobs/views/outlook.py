"""What a screen shows of jobs: each with its progress, its place in the queue, and how long things should take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.publishing.service import Publishing
from jobs.record.publications import Publication
from jobs.record.remote_run import RemoteRun, read_remote
from jobs.record.state import JobState
from jobs.record.store import Job, JobStore
from jobs.runs.progress import Progress, progress_of
from jobs.runs.speed import Speeds
from jobs.views.line import WaitingLine
from trainer.run_folder import RunFolder


@dataclass(frozen=True)
class JobView:
    """A job with everything that a screen shows of it."""

    job: Job
    progress: Progress
    place: int | None
    """1 = next, while it waits."""
    starts_in_s: float | None
    publication: Publication | None
    remote: RemoteRun | None
    """Where it trains at Hugging Face, unless it trains on this machine."""

    @property
    def where(self) -> str:
        """Where it runs, in words."""
        return "Hugging Face Jobs" if self.remote is not None else "this machine"

    def as_dict(self) -> dict[str, object]:
        """What programs are told of a job, by the command line and over HTTP: the names stay."""
        job, progress = self.job, self.progress
        return {
            "id": job.id,
            "title": job.title,
            "method": job.method,
            "kind": job.kind,
            "base": job.base,
            "state": job.state.value,
            "where": self.where,
            "machine": self.remote.flavor if self.remote else None,
            "message": job.message,
            "place": self.place,
            "phase": progress.phase.value if progress.phase else None,
            "step": progress.step,
            "total": job.steps,
            "eta_s": progress.eta_s,
        }


class Outlook:
    """The jobs of one data root as they stand now."""

    def __init__(
        self, store: JobStore, runs_dir: Path, speeds: Speeds, publishing: Publishing, devices: Callable[[], int]
    ) -> None:
        """`devices` is as for `WaitingLine`."""
        self._runs_dir, self._publishing = runs_dir, publishing
        self._line = WaitingLine(store, runs_dir, speeds, devices)

    def views(self, jobs: list[Job]) -> list[JobView]:
        """These jobs, in their order."""
        line = self._line.look() if any(job.state is JobState.waiting for job in jobs) else None
        publications = self._publishing.of_all(job.id for job in jobs)
        return [
            JobView(
                job,
                progress_of(self._run(job.id).events_file),
                line.places.get(job.id) if line else None,
                line.starts.get(job.id) if line else None,
                publications.get(job.id),
                read_remote(self._run(job.id)),
            )
            for job in jobs
        ]

    def ahead(self) -> tuple[int, float | None]:
        """How many jobs a new one would come after, and how long they should take, where that is known."""
        line = self._line.look()
        return line.ahead, line.ahead_s

    def _run(self, job_id: str) -> RunFolder:
        return RunFolder(self._runs_dir / job_id)
