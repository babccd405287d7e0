"""Builds the job service of a data root from the settings."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.mirror.keeping import Keeping
from jobs.publishing.service import Publishing
from jobs.queueing.fleet import Fleet, open_database
from jobs.queueing.job_queue import JobQueue
from jobs.record.publications import PublicationStore
from jobs.record.store import JobStore
from jobs.runs.speed import Speeds
from jobs.service import JobService
from trainer.machine.devices import Device
from trainer.settings import Settings


def open_service(settings: Settings, *, own: Sequence[Device] = ()) -> JobService:
    """The service over the settings' database and run folders; makes both where they are missing.

    `own`: the devices whose supervisors the caller keeps alive. Raises RequestError where the database is another
    version's, or that of machines which work in another folder.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    engine, supervisors = open_database(settings)
    store = JobStore(engine)
    queue = JobQueue(store, supervisors, settings)
    publishing = Publishing(store, PublicationStore(engine), settings.runs_dir)
    fleet = Fleet(supervisors, settings, own)
    speeds = Speeds(settings.speeds_file)
    return JobService(store, queue, settings.runs_dir, speeds, publishing, Keeping(settings), fleet)
