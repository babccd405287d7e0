"""Two machines that serve one queue: real supervisors with a data root each, one shared folder and one Postgres."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest

from jobs.record.state import JobState
from jobs.record.store import Job
from jobs.service import JobService
from tests.command import run_module
from tests.jobs.fleet.machines import Submit, child_of, machine
from tests.jobs.watching import LONG, starts, state
from tests.waiting import wait_until
from trainer.events import Finished, read_events
from trainer.settings import Settings


@pytest.fixture
def two_machines(settings: Settings, service: JobService, tmp_path: Path) -> Generator[list[subprocess.Popen[bytes]]]:
    with machine(settings, tmp_path / "one") as one, machine(settings, tmp_path / "two") as two:
        wait_until(lambda: service.fleet.size() == 2, "both are there")
        yield [one, two]


def times_finished(service: JobService, job: Job) -> int:
    return sum(isinstance(e, Finished) for e in read_events(service.run_folder(job.id).events_file))


def test_two_machines_train_two_jobs_at_the_same_time(
    service: JobService, submit: Submit, two_machines: list[subprocess.Popen[bytes]], settings: Settings
) -> None:
    jobs = [submit(owner, **LONG) for owner in ("anna", "ben")]
    wait_until(lambda: all(child_of(service, job) for job in jobs), "both train")
    children = [child_of(service, job) for job in jobs]
    assert {child.ppid() for child in children if child} == {process.pid for process in two_machines}
    told = [value for child in children if child for value in child.environ().values()]
    assert str(settings.database_url) not in told  # they open what people send
    for job in jobs:
        service.cancel(job.id, job.owner)
    wait_until(lambda: all(state(service, job) is JobState.cancelled for job in jobs))
    assert not (settings.home / "runs").exists()


@pytest.mark.slow
@pytest.mark.fault(7)
def test_job_of_a_machine_that_died_goes_on_with_the_other_and_finishes_once(
    service: JobService, submit: Submit, two_machines: list[subprocess.Popen[bytes]]
) -> None:
    job = submit(**{**LONG, "steps": 400})
    wait_until(lambda: child_of(service, job), "it trains")
    child = child_of(service, job)
    assert child is not None
    died = next(process for process in two_machines if process.pid == child.ppid())
    died.kill()
    died.wait()
    wait_until(lambda: not child.is_running(), "its child ends with it")
    assert state(service, job) is JobState.running
    wait_until(lambda: state(service, job) is JobState.finished, "it is finished")
    first, second = starts(service, job)
    assert first == 0
    assert second >= 20
    assert times_finished(service, job) == 1
    assert service.job(job.id, "anna").attempt == 2
    assert service.fleet.size() == 1


@pytest.mark.slow
def test_machine_that_slept_leaves_the_job_that_was_taken_over_alone(
    service: JobService, submit: Submit, two_machines: list[subprocess.Popen[bytes]]
) -> None:
    job = submit(**LONG)
    wait_until(lambda: child_of(service, job), "it trains")
    child = child_of(service, job)
    assert child is not None
    slept = next(process for process in two_machines if process.pid == child.ppid())
    asleep = (psutil.Process(slept.pid), child)
    for process in asleep:
        process.send_signal(signal.SIGSTOP)

    def is_anothers() -> bool:
        taken = child_of(service, job)
        return len(starts(service, job)) == 2 and taken is not None and taken.ppid() != slept.pid

    wait_until(is_anothers, "the other has it")
    for process in asleep:
        if process.is_running():
            process.send_signal(signal.SIGCONT)
    other = submit("ben", steps=30)
    wait_until(lambda: state(service, other) is JobState.finished, "who slept takes another job")
    assert not child.is_running()
    assert is_anothers()
    assert state(service, job) is JobState.running
    service.stop_and_keep(job.id, "anna")
    wait_until(lambda: state(service, job) is JobState.stopped, "what was learnt is kept")
    assert len(starts(service, job)) == 2


def test_machine_with_another_shared_folder_refuses_to_serve(
    settings: Settings, service: JobService, tmp_path: Path
) -> None:
    environment = {"STUDIO_HOME": str(tmp_path / "one"), "STUDIO_DATABASE_URL": str(settings.database_url)}
    for shared in (str(tmp_path / "another"), ""):
        result = run_module("jobs", "worker", **environment, STUDIO_SHARED=shared)
        assert result.returncode == 2
        assert result.stderr.strip() == (
            f"The folder {shared or environment['STUDIO_HOME']} is not the one that the other machines of this "
            "database work in: set STUDIO_SHARED to that folder."
        )
