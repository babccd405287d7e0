"""Machines of a fleet, each a real supervisor, and the processes that they have."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import psutil

from jobs.record.store import Job
from jobs.service import JobService
from tests.jobs.processes import jobs_process
from tests.jobs.watching import step
from trainer.settings import Settings

Submit = Callable[..., Job]
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
        if step(service, job) >= 25:
            return child
    return None
