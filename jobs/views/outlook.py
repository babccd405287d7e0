"""What a screen shows of jobs: each with its progress, its place in the queue, and how long things should take."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.publishing.service import Publishing
from jobs.record.publications import Publication
from jobs.record.remote_run import RemoteRun, read_remote
from jobs.record.state import JobState
from jobs.record.store import Job, JobStore, waiting_place
from jobs.runs.progress import Progress, progress_of
from jobs.runs.speed import Speeds
from trainer.errors import RequestError
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
        """`devices` says how many jobs train at the same time; none where no machine serves the queue."""
        self._store, self._runs_dir, self._speeds, self._publishing = store, runs_dir, speeds, publishing
        self._devices = devices

    def views(self, jobs: list[Job]) -> list[JobView]:
        """These jobs, in their order."""
        waiting = self._local(JobState.waiting)
        starts, _ = self._starts(waiting, self._running()) if waiting else ({}, 0.0)
        publications = self._publishing.of_all(job.id for job in jobs)
        return [
            JobView(
                job,
                progress_of(self._run(job.id).events_file),
                waiting_place(waiting, job.id),
                starts.get(job.id),
                publications.get(job.id),
                read_remote(self._run(job.id)),
            )
            for job in jobs
        ]

    def ahead(self) -> tuple[int, float | None]:
        """How many jobs a new one would come after, and how long they should take, where that is known."""
        waiting, running = self._local(JobState.waiting), self._running()
        _, seconds = self._starts(waiting, running)
        return (0 if seconds == 0 else len(waiting) + len(running)), seconds

    def _starts(self, waiting: list[Job], running: list[Job]) -> tuple[dict[str, float | None], float | None]:
        """In how many seconds each waiting job should start, and one that comes after them; None: not known."""
        left = [self._seconds_left(job) for job in running]
        devices = self._devices()
        free = [*left, *[0.0] * (devices - len(left))] if devices else [math.inf]
        heapq.heapify(free)
        starts: dict[str, float | None] = {}
        for job in waiting:
            start = heapq.heappop(free)
            starts[job.id] = _known(start)
            estimate = self._estimate(job.id)
            heapq.heappush(free, start + (estimate if estimate is not None else math.inf))
        return starts, _known(free[0])

    def _seconds_left(self, job: Job) -> float:
        """Of a running job; infinite where it is not known."""
        eta = progress_of(self._run(job.id).events_file).eta_s
        estimate = eta if eta is not None else self._estimate(job.id)
        return estimate if estimate is not None else math.inf

    def _estimate(self, job_id: str) -> float | None:
        try:
            return self._speeds.seconds_for(self._run(job_id).read_recipe())
        except RequestError:
            return None

    def _running(self) -> list[Job]:
        return self._local(JobState.running, JobState.stopping)

    def _local(self, *states: JobState) -> list[Job]:
        """Jobs of machines that serve the queue in these states, in the order in which they are served."""
        return [job for job in self._store.in_state(*states) if read_remote(self._run(job.id)) is None]

    def _run(self, job_id: str) -> RunFolder:
        return RunFolder(self._runs_dir / job_id)


def _known(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
