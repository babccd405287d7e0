"""A row and a run's report as a test wants them, without a job behind."""

from __future__ import annotations

from dataclasses import replace

from jobs.record.state import JobState, StopWish
from jobs.record.store import Job, new_job_id
from jobs.runs.progress import Progress
from trainer.events import Measured


def make_job(**changes: object) -> Job:
    job = Job(
        id=new_job_id(),
        owner="anna",
        title="mug",
        name="mug",
        method="dreambooth",
        kind="object",
        base="starter",
        steps=10,
        state=JobState.waiting,
        wish=StopWish.none,
        priority=1,
        attempt=1,
        created=1.0,
        queued=1.0,
        started=None,
        ended=None,
        message="",
    )
    return replace(job, **changes)  # type: ignore[arg-type]


def measured(peak_bytes: int, device: str) -> Progress:
    """What a run says that held so much at its peak."""
    numbers = Measured(knows_subject=0.5, changed_elsewhere=0, trained_parameters=1, peak_memory_bytes=peak_bytes)
    return Progress(device=device, measured=numbers)
