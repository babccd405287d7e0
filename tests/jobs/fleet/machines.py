"""Machines of a fleet, each a real supervisor, and what can be seen of the jobs that they have."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import psutil

from jobs.record.state import JobState
from jobs.record.store import Job
from jobs.service import JobService
from tests.jobs.processes import jobs_process
from trainer.events import Started, read_events
from trainer.settings import Settings

Submit = Callable[..., Job]
LONG = {"steps": 3000, "checkpoint_every_steps": 20, "preview_every_steps": 0}
_GONE_AFTER_S = 10.0
_WORKER = f"""
import sys
from jobs.queueing import fleet
from jobs.supervisor import heartbeat
fleet.GONE_AFTER_S, heartbeat.BEAT_S = {_GONE_AFTER_S}, 0.5
from jobs.__main__ import main
sys.exit(main(["worker"]))
"""
"""As `python -m jobs worker`, but nobody waits for two minutes."""


def machine(settings: Settings, home: Path, **environment: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A supervisor with a data root of its own, which is told of nothing but the database and the shared folder."""
    told = {"STUDIO_SHARED": str(settings.shared), "STUDIO_DATABASE_URL": str(settings.database_url)}
    return jobs_process("worker", home, program=("-c", _WORKER), **told, **environment)


def child_of(service: JobService, job: Job) -> psutil.Process | None:
    """The process that has the run, once it has trained some steps and written a checkpoint."""
    run = service.run_folder(job.id)
    holder = run.holder()
    with contextlib.suppress(psutil.NoSuchProcess):
        child = psutil.Process(holder.pid) if holder else None
        if service.view(job.id, job.owner).progress.step >= 25:
            return child
    return None


def state(service: JobService, job: Job) -> JobState:
    return service.job(job.id, job.owner).state


def starts(service: JobService, job: Job) -> list[int]:
    """From which steps it was started."""
    return [e.resumed_from for e in read_events(service.run_folder(job.id).events_file) if isinstance(e, Started)]
