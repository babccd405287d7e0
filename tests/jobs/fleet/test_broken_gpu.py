"""A machine whose GPU cannot be used, beside one that can train."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.record.state import JobState
from jobs.service import JobService
from tests.jobs.fleet.machines import Submit, machine
from tests.jobs.gpu_driver import REPORTS, Driver
from tests.jobs.watching import state
from tests.waiting import wait_until
from trainer.settings import Settings


@pytest.mark.slow  # quick: tests/jobs/supervisor (test_gpu_watch.py, test_worker.py)
@pytest.mark.fault(56, 57)
def test_jobs_go_to_the_machine_that_can_train_them(
    settings: Settings,
    service: JobService,
    submit: Submit,
    tmp_path: Path,
    driver: Driver,
) -> None:
    driver(REPORTS)
    with machine(settings, tmp_path / "broken"):
        jobs = [submit(owner, steps=10) for owner in ("anna", "ben")]
        wait_until(lambda: service.job(jobs[0].id, "anna").attempt == 2, "it leaves the job to others")
        assert service.fleet.size() == 0
        _, _, without_driver = os.environ["PATH"].partition(":")
        with machine(settings, tmp_path / "good", PATH=without_driver):  # it trains on its processor
            wait_until(lambda: all(state(service, job) is JobState.finished for job in jobs), "both are trained")
            assert service.fleet.size() == 1
        assert [service.job(job.id, job.owner).attempt for job in jobs] == [2, 1]
