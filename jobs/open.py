"""Builds the job service of a data root from the settings."""

from __future__ import annotations

from jobs.mirror.keeping import Keeping
from jobs.publishing.publications import PublicationStore
from jobs.publishing.service import Publishing
from jobs.queue import QueueClient
from jobs.service import JobService
from jobs.speed import Speeds
from jobs.store import JobStore, open_engine
from trainer.settings import Settings


def open_service(settings: Settings, *, devices: int = 1) -> JobService:
    """The service over the settings' database and run folders; makes both where they are missing.

    `devices`: how many jobs train here at the same time; it is needed to say when a job should start.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    engine = open_engine(settings.jobs_database_url)
    store, queue = JobStore(engine), QueueClient(settings.jobs_database_url)
    publishing = Publishing(store, PublicationStore(engine), settings.runs_dir)
    speeds = Speeds(settings.home / "speeds.json")
    return JobService(store, queue, settings.runs_dir, speeds, publishing, Keeping(settings), devices=devices)
