"""What can be seen of jobs that somebody else trains, and a recipe long enough to look."""

from __future__ import annotations

from jobs.record.state import JobState
from jobs.record.store import Job
from jobs.service import JobService
from trainer.events import Started, read_events

LONG = {"steps": 3000, "checkpoint_every_steps": 20, "preview_every_steps": 0}


def state(service: JobService, job: Job) -> JobState:
    return service.job(job.id, job.owner).state


def step(service: JobService, job: Job) -> int:
    return service.view(job.id, job.owner).progress.step


def starts(service: JobService, job: Job) -> list[int]:
    """From which steps it was started."""
    return [e.resumed_from for e in read_events(service.run_folder(job.id).events_file) if isinstance(e, Started)]
