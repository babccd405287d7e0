"""What a supervisor makes of a trainer that does not come back as it should, and of wishes that come in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from jobs.hub.tokens import TokenVault
from jobs.record.job_file import read_job_file
from jobs.record.state import JobState, StopWish
from jobs.record.store import Job
from jobs.runs.progress import Progress
from jobs.runs.speed import Speeds
from jobs.service import JobService
from jobs.supervisor import local, words, worker
from jobs.supervisor.local import LocalTrainer, _may_fetch
from jobs.supervisor.training import Watch
from jobs.supervisor.worker import Supervisor
from tests.engine.conftest import small_recipe
from tests.jobs.supervisor.at_hand import AtHand
from tests.waiting import PATIENCE_S, wait_until
from trainer.errors import EXIT_DONE, EXIT_STOPPED, BaseModelError
from trainer.events import Step
from trainer.machine.devices import cpu
from trainer.machine.process import KEEP_SIGNAL, Child
from trainer.photos.intake import take_folder
from trainer.run_folder import RunFolder
from trainer.settings import Settings

Submit = Callable[..., Job]


def raising(error: Exception) -> Callable[[Watch], int]:
    def train(_watch: Watch) -> int:
        raise error

    return train


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BaseModelError("The base model is not there any more."), "The base model is not there any more."),
        (ZeroDivisionError("oh"), "Something went wrong on our side (ZeroDivisionError)."),
        (sa.exc.OperationalError("select", {}, Exception()), "Something went wrong on our side (OperationalError)."),
        (PermissionError(13, "Permission denied"), "The job's files cannot be used"),
    ],
)
def test_job_whose_training_breaks_down_fails_in_words_and_can_be_resumed(
    error: Exception, words: str, settings: Settings, service: JobService, submit: Submit
) -> None:
    job = submit()
    Supervisor(settings, AtHand(raising(error)))._run_job(job.id, job.attempt)
    ended = service.job(job.id, "anna")
    assert ended.state is JobState.failed
    assert words in ended.message
    service.resume(job.id, "anna")
    assert service.job(job.id, "anna").state is JobState.waiting


@pytest.mark.fault(10, 16)
def test_child_that_dies_again_and_again_without_getting_further_is_given_up_after_three_tries(
    settings: Settings, service: JobService, submit: Submit
) -> None:
    job, trainer = submit(), AtHand(lambda watch: -signal.SIGKILL)
    Supervisor(settings, trainer)._run_job(job.id, job.attempt)
    failed = service.job(job.id, "anna")
    assert (trainer.trained, failed.state) == (3, JobState.failed)
    assert "3 times" in failed.message
    assert "memory" in failed.message


@pytest.mark.fault(54)
def test_job_of_which_cannot_be_told_whether_it_is_under_way_is_not_failed(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_WAIT_S", 0.0)
    troubles = [OSError(116, "Stale file handle")]

    class AwayForAWhile(AtHand):
        def is_under_way(self, _run: RunFolder, /) -> bool:
            if troubles:
                raise troubles.pop()
            return False

    job, trainer = submit(), AwayForAWhile(lambda _watch: EXIT_STOPPED)
    Supervisor(settings, trainer)._run_job(job.id, job.attempt)
    assert trainer.trained == 1
    assert service.job(job.id, "anna").state is JobState.stopped


@pytest.mark.fault(17)
def test_disk_that_other_jobs_filled_is_said_before_the_first_step_and_not_in_the_middle(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit()
    monkeypatch.setattr("trainer.disk_need.free_bytes", lambda _folder: 1000)
    trainer = LocalTrainer(settings, cpu(), TokenVault(None))
    Supervisor(settings, trainer)._run_job(job.id, job.attempt)
    failed = service.job(job.id, "anna")
    assert (failed.state, failed.message[:21]) == (JobState.failed, "The disk is too full:")
    assert not service.run_folder(job.id).events_file.exists()


def test_interruption_says_where_it_goes_on_and_that_it_begins_anew() -> None:
    assert words.resuming(Progress()) == ""
    assert words.resuming(Progress(step=9, total=20)) == "Interrupted at step 9 of 20; it begins anew."
    kept = Progress(step=9, total=20, checkpoint_step=5)
    assert words.resuming(kept) == "Interrupted at step 9 of 20; going on from step 5."


def test_child_that_does_not_stop_in_time_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs on paid hardware, and was told to stop and keep what it has."""
    deaf = (
        "import signal, time; signal.signal(signal.SIGUSR1, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", deaf], stdout=log, start_new_session=True)
    wait_until(lambda: (tmp_path / "log").read_bytes() != b"")
    monkeypatch.setattr(local, "EXPORT_WITHIN_S", 0.5)
    watch = Watch(lambda: StopWish.keep, lambda: False, lambda _text: None)
    assert local._follow(Child(process), RunFolder(tmp_path), watch) == EXIT_STOPPED
    assert process.poll() == -signal.SIGTERM


class Exporting(Child):
    """A child on a slow machine: told to stop, it writes to its run's events now and then until it is done."""

    def __init__(self, run: RunFolder, often: int) -> None:
        self._events, self._left = run.events_file, often
        self.awake_s, self.asleep_s = 0.0, 0.0
        self.was_ended = False

    @property
    def pid(self) -> int:
        return 1234

    def wait(self, timeout_s: float | None = None) -> int | None:
        self.awake_s += local.EXPORT_WITHIN_S * 0.9
        self._events.touch()
        os.utime(self._events, (self.awake_s, self.awake_s))
        self._left -= 1
        return None if self._left else 0

    def signal(self, number: signal.Signals) -> None:
        assert number is KEEP_SIGNAL

    def end(self, grace_s: float = 0.0) -> int:
        self.was_ended = True
        return -signal.SIGTERM


class Asleep(Exporting):
    """The machine sleeps in the middle of the export, and nothing is said for long by the clock on the wall."""

    def wait(self, timeout_s: float | None = None) -> int | None:
        self.awake_s += 1.0
        self.asleep_s += local.EXPORT_WITHIN_S * 2
        self._left -= 1
        return None if self._left else 0


@pytest.mark.fault(55)
@pytest.mark.parametrize("kind", [Exporting, Asleep])
def test_child_that_still_says_something_or_sleeps_with_its_machine_is_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exporting]
) -> None:
    child = kind(RunFolder(tmp_path), often=5)
    clocks = SimpleNamespace(time=lambda: child.awake_s + child.asleep_s, monotonic=lambda: child.awake_s)
    monkeypatch.setattr(local, "time", clocks)
    watch = Watch(lambda: StopWish.keep, lambda: False, lambda _text: None)
    assert local._follow(child, RunFolder(tmp_path), watch) == 0
    assert not child.was_ended


class FullDisk:
    """Stands before a call of the database, and lets it through from the third time on."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call, self.asked = call, 0

    def __call__(self, *what: Any, **how: Any) -> Any:
        self.asked += 1
        if self.asked < 3:
            raise sa.exc.OperationalError("update", {}, Exception("database or disk is full"))
        return self._call(*what, **how)


@pytest.mark.fault(17, 53)
def test_job_is_settled_as_it_ended_however_long_the_database_cannot_be_written(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_WAIT_S", 0.0)
    job = submit()
    supervisor = Supervisor(settings, AtHand(lambda watch: fill_the_disk()))
    change = FullDisk(supervisor._store.change_state)

    def fill_the_disk() -> int:
        monkeypatch.setattr(supervisor._store, "change_state", change)
        return EXIT_STOPPED

    find = FullDisk(supervisor._store.find)
    monkeypatch.setattr(supervisor._store, "find", find)
    supervisor._run_job(job.id, job.attempt)
    assert service.job(job.id, "anna").state is JobState.stopped
    assert change.asked == 3
    assert find.asked > 3


@pytest.mark.fault(53, 54)
def test_job_is_trained_however_long_it_cannot_be_written_that_it_is(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Postgres that only answers, or is lost between two questions."""
    monkeypatch.setattr(worker, "_WAIT_S", 0.0)
    job, trainer = submit(), AtHand(lambda watch: watch.note("It waits for its files.") or EXIT_STOPPED)
    supervisor = Supervisor(settings, trainer)
    for name in ("change_state", "note"):
        monkeypatch.setattr(supervisor._store, name, FullDisk(getattr(supervisor._store, name)))
    supervisor._run_job(job.id, job.attempt)
    assert (trainer.trained, service.job(job.id, "anna").state) == (1, JobState.stopped)


@pytest.mark.fault(54)
def test_training_goes_on_by_the_last_known_wish_while_the_database_does_not_answer(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_WAIT_S", 0.0)
    job, heard = submit(), list[StopWish]()

    def train(watch: Watch) -> int:
        service.stop_and_keep(job.id, "anna")
        heard.append(watch.wish())
        service.cancel(job.id, "anna")
        monkeypatch.setattr(supervisor._store, "find", FullDisk(supervisor._store.find))
        heard.append(watch.wish())
        return EXIT_STOPPED

    supervisor = Supervisor(settings, AtHand(train))
    supervisor._run_job(job.id, job.attempt)
    assert heard == [StopWish.keep, StopWish.keep]
    assert service.job(job.id, "anna").state is JobState.cancelled  # what ended it is asked until there is an answer


@pytest.mark.fault(17)
def test_finished_job_stays_finished_where_its_speed_cannot_be_remembered(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_run: RunFolder) -> Speeds:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "_artifact_is_whole", lambda _run: True)
    monkeypatch.setattr(words, "finished_words", lambda _run: "Trained and verified.")
    job, trainer = submit(), AtHand(lambda watch: EXIT_DONE)
    monkeypatch.setattr(trainer, "speeds", no_space)
    Supervisor(settings, trainer)._run_job(job.id, job.attempt)
    assert service.job(job.id, "anna").state is JobState.finished


@pytest.mark.fault(9)
def test_waiting_job_of_another_version_says_so(settings: Settings, service: JobService, submit: Submit) -> None:
    job = submit()
    run = service.run_folder(job.id)
    recipe = json.loads(run.config_file.read_text())
    run.config_file.write_text(json.dumps({**recipe, "sharpness": 3}))
    trainer = AtHand(lambda watch: EXIT_STOPPED)
    Supervisor(settings, trainer)._run_job(job.id, job.attempt)
    failed = service.job(job.id, "anna")
    assert (failed.state, trainer.trained) == (JobState.failed, 0)
    assert failed.message.startswith("It was made by another version of this app")
    assert "sharpness" in failed.message


def test_cancel_before_the_job_is_said_to_run_is_heard(settings: Settings, service: JobService, submit: Submit) -> None:
    """The queue has handed the job over, and the device is still another's."""
    job = submit()

    def cancelled_meanwhile() -> AbstractContextManager[object]:
        service.cancel(job.id, "anna")
        return nullcontext()

    trainer = AtHand(lambda watch: EXIT_STOPPED, cancelled_meanwhile)
    Supervisor(settings, trainer)._run_job(job.id, job.attempt)
    assert service.job(job.id, "anna").state is JobState.cancelled
    assert trainer.trained == 0


@pytest.mark.fault(56)
def test_job_is_left_to_others_while_the_device_cannot_be_used(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_LOOK_AGAIN_S", 0.05)
    job, trainer = submit(), AtHand(lambda watch: EXIT_STOPPED)
    usable = threading.Event()
    monkeypatch.setattr(trainer, "can_train", usable.is_set)
    supervisor = Supervisor(settings, trainer)
    busy = threading.Thread(target=supervisor._run_job, args=(job.id, 1))
    busy.start()
    wait_until(lambda: service.queue._queue.over({job.id: 1}), "the queue counts on this supervisor no more")
    wait_until(lambda: service.queue._queue._knows(f"{job.id}-2"), "the next attempt is queued")
    assert busy.is_alive()
    again = service.job(job.id, "anna")
    assert (again.state, again.attempt) == (JobState.waiting, 2)
    assert "cannot be used" in again.message
    usable.set()
    busy.join(PATIENCE_S)
    assert not busy.is_alive()
    assert (trainer.trained, service.job(job.id, "anna")) == (0, again)
    supervisor._run_job(job.id, 2)
    assert trainer.trained == 1


@pytest.mark.parametrize("under_way", [False, True])
def test_attempt_that_was_cancelled_and_resumed_meanwhile_leaves_the_job_to_the_next(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch, under_way: bool
) -> None:
    """Else the job would have two runners in one folder, or be cancelled by the one that came too late."""
    job = submit()

    def resumed_meanwhile() -> AbstractContextManager[object]:
        service.cancel(job.id, "anna")
        service.resume(job.id, "anna")
        return nullcontext()

    late = AtHand(lambda watch: EXIT_STOPPED, resumed_meanwhile)
    monkeypatch.setattr(late, "is_under_way", lambda _run: under_way)
    Supervisor(settings, late)._run_job(job.id, 1)
    Supervisor(settings, late)._run_job(job.id, 1)  # and once more, as after a crash
    resumed = service.job(job.id, "anna")
    assert (late.trained, resumed.state, resumed.attempt) == (0, JobState.waiting, 2)
    following = AtHand(lambda watch: EXIT_STOPPED)
    Supervisor(settings, following)._run_job(job.id, 2)
    assert (following.trained, service.job(job.id, "anna").state) == (1, JobState.stopped)


def test_attempt_that_breaks_down_late_does_not_fail_the_next(
    settings: Settings, service: JobService, submit: Submit
) -> None:
    job = submit()

    def resumed_meanwhile() -> AbstractContextManager[object]:
        service.cancel(job.id, "anna")
        service.resume(job.id, "anna")
        raise OSError("the device is away")

    Supervisor(settings, AtHand(lambda watch: EXIT_STOPPED, resumed_meanwhile))._run_job(job.id, 1)
    assert service.job(job.id, "anna").state is JobState.waiting
    file = read_job_file(service.run_folder(job.id))
    assert file is not None
    assert (file.state, file.attempt) == (JobState.waiting, 2)


def test_cancel_between_two_starts_ends_the_second(settings: Settings, service: JobService, submit: Submit) -> None:
    job = submit()
    heard: list[StopWish] = []

    def train(watch: Watch) -> int:
        done = Step(step=3, total=6, loss=1.0, lr=0.1, steps_per_second=2.0, eta_s=1.5)
        service.run_folder(job.id).events(done)
        service.cancel(job.id, "anna")
        heard.append(watch.wish())
        return EXIT_STOPPED

    Supervisor(settings, AtHand(train))._run_job(job.id, job.attempt)
    assert heard == [StopWish.cancel]
    ended = service.job(job.id, "anna")
    assert (ended.state, ended.message) == (JobState.cancelled, "Cancelled at step 3.")


def test_base_that_went_while_the_job_waited_is_left_to_the_child_to_say(
    service: JobService, tiny_model: Path, photo_folder: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    recipe = small_recipe(base, "textual-inversion")
    job = service.submitting.submit("anna", recipe, lambda folder: take_folder(photo_folder, folder))
    shutil.rmtree(base)
    assert not _may_fetch(service.run_folder(job.id))
