"""Real supervisors and training children: finish, cancel, stop, crash, restart. Each as a person would see it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable

import psutil
import pytest

from jobs.__main__ import main
from jobs.record.state import JobState
from jobs.record.store import Job
from jobs.service import JobService
from tests.command import run_module
from tests.jobs.processes import supervisor
from tests.jobs.watching import LONG, starts, state, step
from tests.waiting import PATIENCE_S, has_ended, wait_until
from trainer.artifact import read_manifest
from trainer.machine.locks import Holder, lock_holder, this_machine
from trainer.settings import Settings

Submit = Callable[..., Job]


def training_pid(service: JobService, job: Job) -> int | None:
    """The live child that holds the run; when one has ended its supervisor does, for a moment."""
    holder = service.run_folder(job.id).holder()
    with contextlib.suppress(psutil.NoSuchProcess):
        if holder is not None and "resume" in psutil.Process(holder.pid).cmdline():
            return holder.pid
    return None


def is_training(service: JobService, job: Job, beyond: int = 20) -> bool:
    return step(service, job) > beyond and training_pid(service, job) is not None


def test_jobs_run_one_after_another_to_verified_artifacts_and_one_that_cannot_train_fails_in_words(
    settings: Settings, service: JobService, submit: Submit
) -> None:
    broken = submit("ben")
    (service.run_folder(broken.id).photos / "0001.jpg").write_bytes(b"not a photo any more")
    jobs = [submit(method=m) for m in ("textual-inversion", "dreambooth-lora")]
    with supervisor(settings.home):
        wait_until(lambda: all(state(service, j) is JobState.finished for j in jobs))
    for job in jobs:
        assert read_manifest(service.run_folder(job.id).artifact).steps == 6
        assert service.view(job.id, "anna").job.message == "Trained and verified."
    assert json.loads((settings.home / "speeds.json").read_text())
    assert state(service, broken) is JobState.failed
    assert service.view(broken.id, "ben").job.message
    assert service.run_folder(broken.id).log_file.exists()


@pytest.mark.fault(8)
def test_second_supervisor_of_a_device_refuses_with_the_pid_of_the_first(
    settings: Settings, service: JobService
) -> None:
    with supervisor(settings.home) as first:
        lock = settings.runtime_dir / "cpu.lock"
        wait_until(lambda: lock_holder(lock) == Holder(first.pid, this_machine()))
        second = run_module("jobs", "worker", STUDIO_HOME=str(settings.home))
        assert second.returncode == 2
        assert f"already served by pid {first.pid}" in second.stderr


@pytest.mark.slow  # quick: tests/test_app.py
@pytest.mark.fault(1)
def test_killed_child_goes_on_from_its_checkpoint(settings: Settings, service: JobService, submit: Submit) -> None:
    job = submit(**{**LONG, "steps": 200})
    with supervisor(settings.home):
        wait_until(lambda: is_training(service, job))
        pid = training_pid(service, job)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: training_pid(service, job) not in (None, pid))
        wait_until(lambda: state(service, job) is JobState.finished)
    _, resumed_from = starts(service, job)
    assert resumed_from >= 20


@pytest.mark.slow  # quick: tests/test_app.py
@pytest.mark.fault(2)
def test_killed_supervisor_leaves_no_child_and_the_next_one_goes_on(
    settings: Settings, service: JobService, submit: Submit
) -> None:
    job = submit(**{**LONG, "steps": 250})
    with supervisor(settings.home) as first:
        wait_until(lambda: is_training(service, job))
        child = training_pid(service, job)
        assert child is not None
        first.kill()
        wait_until(lambda: has_ended(child))
    with supervisor(settings.home):
        wait_until(lambda: state(service, job) is JobState.finished)
    _, resumed_from = starts(service, job)
    assert resumed_from > 0


@pytest.mark.fault(6, 12)
def test_terminated_supervisor_checkpoints_and_the_job_waits_for_the_next(
    settings: Settings, service: JobService, submit: Submit
) -> None:
    job = submit(**LONG)
    with supervisor(settings.home) as first:
        wait_until(lambda: is_training(service, job))
        first.terminate()
        assert first.wait(PATIENCE_S) == 0
        assert state(service, job) is JobState.waiting
        assert "restart" in service.view(job.id, "anna").job.message
    # not the last periodic one: the very step
    assert service.view(job.id, "anna").progress.checkpoint_step == step(service, job)


@pytest.mark.slow  # quick: test_worker.py, tests/engine/test_stop_and_resume.py
def test_stop_and_keep_leaves_a_verified_artifact_and_resume_goes_on(
    settings: Settings, service: JobService, submit: Submit
) -> None:
    job = submit(**LONG)
    with supervisor(settings.home):
        wait_until(lambda: is_training(service, job))
        service.stop_and_keep(job.id, "anna")
        wait_until(lambda: state(service, job) is JobState.stopped)
        stopped_at = read_manifest(service.run_folder(job.id).artifact).steps
        assert 20 < stopped_at < LONG["steps"]
        service.resume(job.id, "anna")
        wait_until(lambda: step(service, job) > stopped_at + 20)
        service.cancel(job.id, "anna")
        wait_until(lambda: state(service, job) is JobState.cancelled)
    assert training_pid(service, job) is None


@pytest.mark.slow  # quick: test_worker.py
@pytest.mark.fault(10, 16)
def test_child_that_dies_again_and_again_is_given_up_after_three_tries(
    settings: Settings, service: JobService, submit: Submit
) -> None:
    job = submit(**{**LONG, "checkpoint_every_steps": 0})
    seen: set[int] = set()
    with supervisor(settings.home):
        while len(seen) < 3:
            wait_until(lambda: training_pid(service, job) not in {None, *seen})
            pid = training_pid(service, job)
            assert pid is not None
            seen.add(pid)
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: state(service, job) is JobState.failed)
    message = service.view(job.id, "anna").job.message
    assert "3 times" in message
    assert "memory" in message


@pytest.mark.parametrize("action", ["list", "show", "cancel"])
def test_command_line_manages_the_same_jobs(
    service: JobService, submit: Submit, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job = submit()
    assert main([action] if action == "list" else [action, job.id]) == 0
    if action == "cancel":
        assert state(service, job) is JobState.cancelled
    else:
        assert job.id in capsys.readouterr().out


def test_command_line_says_that_a_job_is_unknown(settings: Settings, service: JobService) -> None:
    result = run_module("jobs", "cancel", "nothing", STUDIO_HOME=str(settings.home))
    assert result.returncode == 2
    assert result.stderr.strip() == "There is no such job."
