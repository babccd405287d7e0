"""A new data root at a database that is kept: what was on its way to Hugging Face is found again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.record.state import JobState
from jobs.record.store import Job
from jobs.service import JobService
from tests.hub.local_hub import LocalHub
from tests.jobs.processes import follower
from tests.jobs.remote.conftest import message
from tests.jobs.watching import state
from tests.waiting import wait_until
from trainer.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", database_url=f"sqlite:///{tmp_path / 'jobs.sqlite'}")


def test_job_in_progress_is_taken_up_from_there_and_can_be_cancelled(
    hub: LocalHub, settings: Settings, service: JobService, send: Callable[..., Job], tmp_path: Path
) -> None:
    database = {"STUDIO_DATABASE_URL": settings.jobs_database_url}
    job = send()
    with follower(settings, hub, **database):
        wait_until(lambda: "Sign in again" in message(service, job))
    moved = settings.model_copy(update={"home": tmp_path / "new"})
    shutil.copytree(settings.runs_dir, moved.runs_dir)  # as a mirror brings it back
    service.cancel(job.id, "anna")
    assert state(service, job) is JobState.stopping
    with follower(moved, hub, **database):
        wait_until(lambda: state(service, job) is JobState.cancelled)
