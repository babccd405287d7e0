"""A run that another machine holds: it is waited for, its process is not touched, and nothing of its files is."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.record.state import JobState, StopWish
from jobs.record.store import Job
from jobs.service import JobService
from jobs.supervisor import local
from jobs.supervisor.local import _grace_s, _tidy, _wait_for_predecessor
from jobs.supervisor.training import Watch
from jobs.supervisor.worker import Supervisor
from tests.jobs.supervisor.at_hand import AtHand
from tests.waiting import PATIENCE_S, wait_until
from trainer.machine.process import GRACE_S, Child
from trainer.run_folder import RunFolder
from trainer.settings import Settings

_HOLDER = """
import sys, time
from pathlib import Path
from trainer.machine import locks
from trainer.run_folder import RunFolder
name = locks.this_machine()
locks.this_machine = lambda: sys.argv[2] or name
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def held(run: RunFolder) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Lets a process hold the run, on this machine or on one of another name."""
    processes: list[subprocess.Popen[bytes]] = []

    def call(machine: str = "") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _HOLDER, str(run.root), machine]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline()  # it has the lock before that, and tidies the folder before it says so
        return process

    yield call
    for process in processes:
        process.kill()
        process.communicate()


def watch(said: list[str], wish: StopWish = StopWish.none) -> Watch:
    return Watch(lambda: wish, lambda: False, said.append)


def test_process_of_another_machine_is_waited_for_and_lives(
    run: RunFolder, held: Callable[[str], subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "GRACE_S", 0.1)
    process, said, got = held("another"), list[str](), list[bool]()
    waiting = threading.Thread(target=lambda: got.append(_wait_for_predecessor(run, watch(said))))
    waiting.start()
    wait_until(lambda: len(said) > 5)
    assert process.poll() is None
    assert "Another machine still has its files" in said[0]
    assert not _wait_for_predecessor(run, watch([], StopWish.cancel))
    process.kill()
    waiting.join(PATIENCE_S)
    assert (got, said[-1]) == ([True], "")


def test_process_that_was_left_behind_on_this_machine_is_ended_in_the_end(
    run: RunFolder, held: Callable[[], subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "GRACE_S", 0.1)
    process = held()
    assert _wait_for_predecessor(run, watch([]))
    assert process.wait() == -signal.SIGKILL


def test_child_whose_run_another_machine_has_gets_no_time_to_write(
    run: RunFolder, held: Callable[[], subprocess.Popen[bytes]]
) -> None:
    child = Child(held())
    assert _grace_s(run, child) == GRACE_S
    (run.root / ".lock").write_text(f"{child.pid} another")
    assert _grace_s(run, child) == 0
    assert child.end(_grace_s(run, child)) < 0


def test_what_another_machine_is_writing_is_not_removed(
    run: RunFolder, held: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    process, aside = held("another"), run.checkpoints / ".step-000020.abc"
    aside.mkdir(parents=True)
    _tidy(run)
    assert aside.exists()
    process.kill()
    process.wait()
    _tidy(run)
    assert not aside.exists()


def test_job_whose_files_are_not_here_says_what_to_set(
    settings: Settings, service: JobService, submit: Callable[..., Job]
) -> None:
    job = submit()
    root = service.run_folder(job.id).root
    root.rename(settings.home / "elsewhere")
    Supervisor(settings, AtHand(lambda watch: 0))._run_job(job.id, job.attempt)
    failed = service.job(job.id, "anna")
    assert failed.state is JobState.failed
    assert "STUDIO_SHARED must name the same folder on all of them" in failed.message
    assert not root.exists()
