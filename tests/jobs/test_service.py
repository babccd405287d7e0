from __future__ import annotations

import errno
import json
import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jobs.open import open_service
from jobs.queueing.executors import executor_id, gone_executors, lock_file
from jobs.queueing.queue import QueueClient
from jobs.record import job_file
from jobs.record.bill import Bill
from jobs.record.comparison import Order
from jobs.record.job_file import count_try, read_job_file
from jobs.record.state import JobState, StopWish
from jobs.record.store import Job, new_job_id
from jobs.record.tables import make_tables
from jobs.service import JobService
from jobs.submission import submitting
from jobs.submission.caps import MAX_OPEN_PER_OWNER
from jobs.views.outlook import Outlook
from tests.engine.conftest import small_recipe
from trainer.errors import RequestError
from trainer.imports.task import ExtractTask
from trainer.machine.devices import cpu
from trainer.machine.locks import hold_lock
from trainer.photos.intake import PhotoSet, take_folder
from trainer.recipe.choices import Kind
from trainer.recipe.config import TrainConfig
from trainer.settings import Settings
from trainer.whole_files import write_whole

Submit = Callable[..., Job]


def test_submitted_job_waits_with_its_files(service: JobService, submit: Submit) -> None:
    job = submit()
    run = service.run_folder(job.id)
    assert {f.name for f in run.root.iterdir()} == {"config.json", "job.json", "photos"}
    view = service.view(job.id, "anna")
    assert view.job.state is JobState.waiting
    assert view.place == 1


@pytest.mark.fault(39)
def test_same_press_is_the_same_job_and_nobody_elses(service: JobService, submit: Submit) -> None:
    press = new_job_id()
    assert submit(press_id=press) == submit(press_id=press)
    assert len(service.views("anna")) == 1
    with pytest.raises(RequestError, match="no such job"):
        submit("eve", press_id=press)
    with pytest.raises(RequestError, match="went into the job red-mug already"):  # another window, another recipe
        submit(press_id=press, steps=9)
    assert len(service.views("anna")) == 1


@pytest.mark.fault(17, 39)
def test_press_that_a_kill_broke_off_can_be_repeated_and_leaves_no_photos_for_good(
    settings: Settings, service: JobService, submit: Submit
) -> None:
    press, other = new_job_id(), new_job_id()
    for left in (press, other, "notes"):
        (settings.runs_dir / left / "photos").mkdir(parents=True)
        os.utime(settings.runs_dir / left, (0, 0))
    job = submit(press_id=press)
    assert service.view(job.id, "anna").job.state is JobState.waiting
    service.rebuild()
    assert {left.name for left in settings.runs_dir.iterdir()} == {press, "notes"}
    (settings.runs_dir / other).mkdir()
    service.rebuild()
    assert (settings.runs_dir / other).exists()  # it may be on its way


@pytest.mark.fault(17)
def test_press_whose_bill_the_disk_does_not_take_leaves_nothing(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(submitting, "write_bill", full)
    with pytest.raises(OSError, match="No space left"):
        submit(bill=Bill(usd_per_hour=1.0, limit_usd=1.0))
    assert list(settings.runs_dir.iterdir()) == []


@pytest.mark.fault(17, 39)
def test_press_that_the_database_does_not_take_leaves_nothing_and_can_be_repeated(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_jobs: Job) -> None:
        raise sa.exc.OperationalError("insert", {}, Exception("database or disk is full"))

    press = new_job_id()
    with monkeypatch.context() as disk:
        disk.setattr(service._store, "add", full)
        with pytest.raises(sa.exc.OperationalError):
            submit(press_id=press)
    assert list(settings.runs_dir.iterdir()) == []
    assert service.rebuild() == 0
    assert submit(press_id=press).state is JobState.waiting


@pytest.mark.fault(39)
def test_two_windows_that_press_at_once_make_one_job(service: JobService, tiny_model: Path, photo_folder: Path) -> None:
    press, both_are_here = new_job_id(), threading.Barrier(2)
    refused: list[RequestError] = []

    def press_train(method: str) -> None:
        both_are_here.wait()
        try:
            service.submitting.submit("anna", small_recipe(tiny_model, method), slowly, press_id=press)
        except RequestError as error:
            refused.append(error)

    def slowly(folder: Path) -> PhotoSet:
        time.sleep(0.3)
        return take_folder(photo_folder, folder)

    windows = [threading.Thread(target=press_train, args=(m,)) for m in ("textual-inversion", "dreambooth-lora")]
    for window in windows:
        window.start()
    for window in windows:
        window.join()
    assert len(refused) == 1
    (view,) = service.views("anna")
    assert service.run_folder(press).read_recipe().method.value == view.job.method


@pytest.mark.fault(54)
def test_queue_that_does_not_answer_holds_up_no_other_press(
    service: JobService, submit: Submit, tiny_model: Path, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitting, queued = service.submitting, list[str]()

    def enqueue(job: Job) -> None:
        assert not submitting._one_at_a_time.locked()
        assert not submitting._one_task_at_a_time.locked()
        queued.append(job.owner)

    monkeypatch.setattr(submitting, "_enqueue", enqueue)
    job = submit("anna")
    order = Order(small_recipe(tiny_model, "textual-inversion"))
    submitting.submit_pair("ben", (order, order), lambda folder: take_folder(photo_folder, folder))
    source = service.run_folder(job.id).root
    submitting.submit_task("cleo", ExtractTask(name="mug", kind=Kind.object, base="starter", source=source, rank=4))
    assert queued == ["anna", "ben", "ben", "cleo"]


@pytest.mark.parametrize("press", ["", "..", "../../elsewhere", "/etc", "x" * 16, "0" * 17])
def test_press_is_no_path(service: JobService, submit: Submit, settings: Settings, press: str) -> None:
    with pytest.raises(RequestError, match="no such photos"):
        submit(press_id=press)
    assert not list(settings.runs_dir.glob("*"))
    assert not (settings.home / "elsewhere").exists()


@pytest.mark.fault(7)
def test_job_of_a_device_that_is_gone_is_queued_again(service: JobService, submit: Submit, settings: Settings) -> None:
    """It trained on the CPU; then a GPU came, whose supervisor has another name."""
    job = submit()
    runtime = settings.runtime_dir
    runtime.mkdir(parents=True)
    gone = executor_id(runtime, "cpu")
    engine = sa.create_engine(settings.jobs_database_url)
    taken = sa.text("UPDATE workflow_status SET status = 'PENDING', executor_id = :gone")
    with engine.begin() as connection:
        assert connection.execute(taken, {"gone": gone}).rowcount == 1
    with hold_lock(lock_file(runtime, "cpu"), what="a supervisor that still lives"):
        assert gone_executors(runtime, {"gpu-0"}) == []
    assert gone_executors(runtime, {"cpu"}) == []
    service.queue.add_missing(gone_executors(runtime, {"gpu-0"}))
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT status, queue_name FROM workflow_status")).all()
    engine.dispose()
    assert sorted(rows) == [("CANCELLED", None), ("ENQUEUED", "training")]
    again = service.view(job.id, "anna").job
    assert (again.state, again.attempt) == (JobState.waiting, 2)


@pytest.mark.fault(40)
def test_owners_see_and_touch_only_their_own(service: JobService, submit: Submit) -> None:
    job = submit("anna")
    assert service.views("eve") == []
    for action in (service.view, service.cancel, service.stop_and_keep, service.resume, service.delete, service.job):
        with pytest.raises(RequestError, match="no such job"):
            action(job.id, "eve")
    assert service.view(job.id, "anna").job.state is JobState.waiting


@pytest.mark.fault(11, 13)
def test_waiting_job_is_cancelled_at_once_and_others_move_up(service: JobService, submit: Submit) -> None:
    first, second = submit(), submit()
    assert service.view(second.id, "anna").place == 2
    service.cancel(first.id, "anna")
    service.cancel(first.id, "anna")  # twice is no error
    assert service.view(first.id, "anna").job.state is JobState.cancelled
    assert service.view(second.id, "anna").place == 1
    assert read_job_file(service.run_folder(first.id)).state is JobState.cancelled  # type: ignore[union-attr]


@pytest.mark.fault(12)
def test_cancel_that_meets_the_start_of_its_job_is_heard_by_who_trains_it(
    service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, read = submit(), service._store.get

    def taken_up_meanwhile(job_id: str, *, owner: str | None = None) -> Job:
        row = read(job_id, owner=owner)
        service._store.change_state(job_id, JobState.running)
        return row

    with monkeypatch.context() as start:
        start.setattr(service._store, "get", taken_up_meanwhile)
        service.cancel(job.id, "anna")
    cancelled = service.job(job.id, "anna")
    assert (cancelled.state, cancelled.wish) == (JobState.stopping, StopWish.cancel)


@pytest.mark.fault(12)
def test_ended_job_is_not_deleted_while_a_process_has_its_files(service: JobService, submit: Submit) -> None:
    job = submit()
    service.cancel(job.id, "anna")
    with service.run_folder(job.id).locked(), pytest.raises(RequestError, match="still works on its files"):
        service.delete(job.id, "anna")
    assert service.run_folder(job.id).photos.is_dir()
    service.delete(job.id, "anna")
    assert service.views("anna") == []


def test_cancelled_job_can_be_resumed_and_deleted(service: JobService, submit: Submit) -> None:
    job = submit()
    with pytest.raises(RequestError, match="still open"):
        service.delete(job.id, "anna")
    with pytest.raises(RequestError, match="nothing to resume"):
        service.resume(job.id, "anna")
    service.cancel(job.id, "anna")
    service.resume(job.id, "anna")
    assert service.view(job.id, "anna").job.attempt == 2
    service.cancel(job.id, "anna")
    service.delete(job.id, "anna")
    assert not service.run_folder(job.id).root.exists()
    with pytest.raises(RequestError):
        service.view(job.id, "anna")


def test_stop_of_a_job_that_waits_says_that_there_is_nothing_to_keep(service: JobService, submit: Submit) -> None:
    job = submit()
    with pytest.raises(RequestError, match="not being trained yet"):
        service.stop_and_keep(job.id, "anna")
    assert service.job(job.id, "anna").state is JobState.waiting


@pytest.mark.fault(51)
def test_one_owner_cannot_fill_the_queue(service: JobService, submit: Submit) -> None:
    for _ in range(MAX_OPEN_PER_OWNER):
        submit("anna")
    with pytest.raises(RequestError, match="wait for one to end"):
        submit("anna")
    job = submit("ben")
    assert service.view(job.id, "ben").place == 2  # ben's first comes right after anna's first


@pytest.mark.fault(41)
def test_unusable_photos_leave_no_job(service: JobService, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(RequestError, match="cannot be used"):
        service.submitting.submit(
            "anna", small_recipe(tiny_model, "dreambooth"), lambda f: take_folder(tmp_path / "none", f)
        )
    assert service.views("anna") == []


@pytest.mark.fault(53)
def test_lost_database_is_rebuilt_from_job_files(settings: Settings, service: JobService, submit: Submit) -> None:
    waiting, cancelled = submit("anna"), submit("ben")
    service.cancel(cancelled.id, "ben")
    service.close()
    for file in settings.home.glob("studio.sqlite*"):
        file.unlink()
    restored = open_service(settings)
    try:
        assert restored.rebuild() == 2
        assert restored.rebuild() == 0
        assert restored.view(waiting.id, "anna").job.state is JobState.waiting
        assert restored.view(cancelled.id, "ben").job.state is JobState.cancelled
    finally:
        restored.close()


@pytest.mark.fault(53)
@pytest.mark.parametrize("wish", [StopWish.keep, StopWish.cancel])
def test_wish_to_stop_comes_back_with_a_lost_database(
    settings: Settings, service: JobService, submit: Submit, wish: StopWish
) -> None:
    job = submit()
    run, started = service.run_folder(job.id), service._store.get(job.id)
    service._store.change_state(job.id, JobState.running)
    press = service.cancel if wish is StopWish.cancel else service.stop_and_keep
    press(job.id, "anna")
    count_try(run, started, 0)  # by a supervisor that read the row before
    service.close()
    for file in settings.home.glob("studio.sqlite*"):
        file.unlink()
    with closing(open_service(settings)) as restored:
        restored.rebuild()
        again = restored.job(job.id, "anna")
        assert (again.state, again.wish) == (JobState.waiting, wish)
        restored.cancel(job.id, "anna")
        restored.resume(job.id, "anna")
        file = read_job_file(run)
        assert file is not None
        assert file.wish is StopWish.none


@pytest.mark.fault(17)
def test_cancel_counts_also_where_the_disk_is_full(
    service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    job = submit()
    service._store.change_state(job.id, JobState.running)
    monkeypatch.setattr(job_file, "write_model", full)
    service.cancel(job.id, "anna")
    assert service.job(job.id, "anna").wish is StopWish.cancel


@pytest.mark.fault(11)
def test_job_that_lost_its_place_in_the_queue_gets_one_at_the_next_start(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(QueueClient, "enqueue", lambda *_, **__: None)  # as after a kill between row and queue
        job = submit()
    queued: list[str] = []
    enqueue = QueueClient.enqueue

    def counted(client: QueueClient, job_id: str, **how: Any) -> None:
        queued.append(job_id)
        enqueue(client, job_id, **how)

    monkeypatch.setattr(QueueClient, "enqueue", counted)
    restarted = open_service(settings)
    for _ in range(2):  # the second time it is there already
        restarted.rebuild()
    restarted.close()
    assert queued == [job.id, job.id]


@pytest.mark.fault(53)
@pytest.mark.parametrize("state", [JobState.waiting, JobState.running, JobState.stopping])
def test_open_job_that_the_queue_takes_for_over_is_taken_up_again(
    settings: Settings, service: JobService, submit: Submit, state: JobState
) -> None:
    left, ended = submit(), submit()
    service.cancel(ended.id, "anna")
    if state is not JobState.waiting:
        service._store.change_state(left.id, JobState.running)
    if state is JobState.stopping:
        service.stop_and_keep(left.id, "anna")
    engine = sa.create_engine(settings.jobs_database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE workflow_status SET status = 'ERROR', deduplication_id = NULL"))
    for _ in range(2):  # the second time it is in the queue
        service.queue.add_missing()
    with engine.connect() as connection:
        queued = connection.execute(sa.text("SELECT workflow_uuid FROM workflow_status WHERE status = 'ENQUEUED'"))
        assert queued.scalars().all() == [f"{left.id}-2"]
    engine.dispose()
    again = service.job(left.id, "anna")
    assert (again.state, again.attempt) == (JobState.waiting, 2)
    assert again.wish is (StopWish.keep if state is JobState.stopping else StopWish.none)
    assert service.job(ended.id, "anna").attempt == 1


def test_deletion_that_a_kill_broke_off_is_finished_by_the_next_start(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(_going: Path) -> None:
        raise KeyboardInterrupt

    job = submit()
    service.cancel(job.id, "anna")
    with monkeypatch.context() as killed:
        killed.setattr(service._deletion, "_finish", kill)
        with pytest.raises(KeyboardInterrupt):
            service.delete(job.id, "anna")
    restarted = open_service(settings)
    assert restarted.rebuild() == 0
    assert restarted.views("anna") == []
    restarted.close()
    assert list(settings.runs_dir.iterdir()) == []


@pytest.mark.fault(17)
def test_deletion_frees_the_disk_before_it_needs_any_of_it(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_job_id: str) -> None:
        raise sa.exc.OperationalError("delete", {}, Exception("database or disk is full"))

    jobs = [submit(), submit()]
    with monkeypatch.context() as disk:
        disk.setattr(service._store, "delete", full)
        for job in jobs:
            service.cancel(job.id, "anna")
            with pytest.raises(sa.exc.OperationalError):
                service.delete(job.id, "anna")
        assert not [file for file in settings.runs_dir.rglob("*") if file.is_file()]
        assert service.rebuild() == 0  # the app starts all the same
        assert len(service.views("anna")) == 2
    service.delete(jobs[0].id, "anna")
    assert service.rebuild() == 0
    assert service.views("anna") == []
    assert list(settings.runs_dir.iterdir()) == []


def test_tries_count_only_while_no_new_checkpoint_comes(service: JobService, submit: Submit) -> None:
    job = submit()
    run = service.run_folder(job.id)
    assert [count_try(run, job, step) for step in (0, 0, 0, 50, 50, 100)] == [1, 2, 3, 1, 2, 1]


def test_job_that_changes_its_owner_keeps_the_count_of_its_tries(service: JobService, submit: Submit) -> None:
    job = submit("a-browser")
    run = service.run_folder(job.id)
    assert count_try(run, job, 0) == 1
    service.adopt("a-browser", "anna")
    file = read_job_file(run)
    assert file is not None
    assert (file.owner, file.tries) == ("anna", 1)
    assert count_try(run, service.job(job.id, "anna"), 0) == 2


def test_each_waiting_job_takes_the_device_that_is_free_first(
    settings: Settings, service: JobService, submit: Submit, tiny_model: Path
) -> None:
    known = {f"textual-inversion {tiny_model} 64px": [1.0, 10.0]}
    write_whole(settings.home / "speeds.json", json.dumps(known))
    jobs = [submit(owner, steps=steps, batch_size=1) for owner, steps in (("a", 50), ("b", 20), ("c", 30))]
    outlook = Outlook(service._store, settings.runs_dir, service.speeds, service.publishing, lambda: 2)
    assert [view.starts_in_s for view in outlook.views(jobs)] == [0, 0, 30]
    assert outlook.ahead() == (3, 60)
    assert [view.starts_in_s for view in service.views("a")] == [None]  # nobody serves this queue
    assert service.ahead() == (3, None)
    with closing(open_service(settings, own=[cpu()])) as page:
        assert [view.starts_in_s for view in page._outlook.views(jobs)] == [0, 60, 90]
        assert page.ahead() == (3, 130)
    for job in jobs[1:]:
        service.cancel(job.id, job.owner)
    assert outlook.ahead() == (0, 0.0)  # the second device has nothing to do


def test_line_is_looked_at_once_for_all_who_look_at_the_same_moment(
    settings: Settings, service: JobService, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, estimated = [submit(), submit()], list[str]()

    def estimate(recipe: TrainConfig) -> float:
        estimated.append(recipe.name)
        return 10.0

    monkeypatch.setattr(service.speeds, "seconds_for", estimate)
    monkeypatch.setattr("jobs.views.line._KEPT_S", math.inf)
    outlook = Outlook(service._store, settings.runs_dir, service.speeds, service.publishing, lambda: 1)
    for _ in range(3):
        assert [(view.place, view.starts_in_s) for view in outlook.views(jobs)] == [(1, 0.0), (2, 10.0)]
        assert outlook.ahead() == (2, 20.0)
    assert estimated == [job.name for job in jobs]
    service.cancel(jobs[0].id, "anna")
    assert [view.place for view in outlook.views(service.rows("anna"))] == [1, None]
    assert len(estimated) == 3
    monkeypatch.setattr("jobs.views.line._KEPT_S", -1.0)
    assert outlook.ahead() == (1, 10.0)
    assert len(estimated) == 4
    outlook.views([job for job in service.rows("anna") if not job.is_open])
    assert len(estimated) == 4  # none of those waits


def test_start_looks_at_each_table_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[sa.MetaData] = []

    def counted(engine: sa.Engine, tables: sa.MetaData) -> None:
        made.append(tables)
        make_tables(engine, tables)

    for module in ("record.store", "record.publications", "queueing.fleet"):
        monkeypatch.setattr(f"jobs.{module}.make_tables", counted)
    open_service(settings).close()
    assert len(made) == len(set(map(id, made))) == 3
