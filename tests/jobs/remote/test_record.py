"""What remote.json keeps over restarts: a Job that may run is never forgotten, one that is over never repeated."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobs.hub.tokens import TokenVault
from jobs.open import open_service
from jobs.record.remote_run import RemoteRun, Stage, read_remote, write_remote
from jobs.record.state import JobState, StopWish
from jobs.record.store import Job
from jobs.remote.trainer import RemoteTrainer
from jobs.service import JobService
from jobs.supervisor.training import Watch
from trainer.errors import RequestError
from trainer.settings import Settings

Send = Callable[..., Job]


def write(service: JobService, job: Job, **changes: object) -> RemoteRun:
    run = service.run_folder(job.id)
    record = read_remote(run)
    assert record is not None
    write_remote(run, record.model_copy(update=changes))
    return record.model_copy(update=changes)


@pytest.mark.fault(35)
@pytest.mark.parametrize(
    ("stage", "state"),
    [(Stage.new, JobState.waiting), (Stage.sending, JobState.running), (Stage.sent, JobState.running)],
)
def test_after_a_lost_database_a_job_that_may_be_paid_for_counts_as_running(
    settings: Settings, service: JobService, send: Send, stage: Stage, state: JobState
) -> None:
    job = send()
    write(service, job, stage=stage)
    (settings.home / "studio.sqlite").rename(settings.home / "lost.sqlite")
    restored = open_service(settings)
    assert restored.rebuild() == 1
    assert restored.job(job.id, "anna").state is state
    restored.cancel(job.id, "anna")
    now_is = restored.job(job.id, "anna")
    restored.close()
    if state is JobState.running:  # it is cancelled there first
        assert (now_is.state, now_is.wish) == (JobState.stopping, StopWish.cancel)
    else:
        assert now_is.state is JobState.cancelled


@pytest.mark.fault(35)
def test_job_that_may_be_paid_for_counts_as_running_until_it_is_taken_up_again(service: JobService, send: Send) -> None:
    job = send()
    write(service, job, stage=Stage.sent)
    service._store.change_state(job.id, JobState.running)
    service.queue.withdraw(job)
    service.queue.add_missing()
    again = service.job(job.id, "anna")
    assert (again.state, again.attempt) == (JobState.running, 2)


@pytest.mark.fault(35)
@pytest.mark.parametrize(("stage", "refused"), [(Stage.sending, True), (Stage.sent, True), (Stage.over, False)])
def test_job_that_may_be_paid_for_is_not_forgotten_by_training_here(
    service: JobService, send: Send, stage: Stage, refused: bool
) -> None:
    job = send()
    service.cancel(job.id, "anna")
    write(service, job, stage=stage)
    if refused:
        with pytest.raises(RequestError, match="may still run"):
            service.resume(job.id, "anna", here=True)
        assert read_remote(service.run_folder(job.id)) is not None
    else:
        service.resume(job.id, "anna", here=True)
        assert read_remote(service.run_folder(job.id)) is None


@pytest.mark.fault(35)
@pytest.mark.parametrize("stage", [Stage.sending, Stage.sent])
@pytest.mark.parametrize("here", [True, False], ids=["resume here", "delete"])
def test_job_whose_owner_cannot_deal_with_it_any_more_is_theirs_again_once_it_must_be_over(
    service: JobService, send: Send, monkeypatch: pytest.MonkeyPatch, stage: Stage, here: bool
) -> None:
    job = send()
    service.cancel(job.id, "anna")
    record, run = write(service, job, stage=stage), service.run_folder(job.id)
    until = record.awaited_until(job.queued)
    monkeypatch.setattr("jobs.service.now", lambda: until - 60)
    act = (lambda: service.resume(job.id, "anna", here=True)) if here else (lambda: service.delete(job.id, "anna"))
    with pytest.raises(RequestError, match="come back in 1 min"):
        act()
    monkeypatch.setattr("jobs.service.now", lambda: until + 60)
    act()
    if here:
        assert service.view(job.id, "anna").remote is None
        (warning,) = service.view(job.id, "anna").progress.warnings
        assert record.bucket(job.id) in warning
    else:
        assert not run.root.exists()


def test_job_at_hugging_face_is_known_while_it_is_open_or_has_left_something_there(
    service: JobService, send: Send
) -> None:
    assert not service.any_remote()
    job = send()
    assert service.any_remote()
    service.cancel(job.id, "anna")
    assert not service.any_remote()
    record = read_remote(service.run_folder(job.id))
    assert record is not None
    write_remote(service.run_folder(job.id), record.model_copy(update={"stage": Stage.sending}))
    assert service.any_remote()  # photos lie there


@pytest.mark.fault(12, 35)
@pytest.mark.parametrize(("stage", "refused"), [(Stage.sending, True), (Stage.sent, True), (Stage.over, False)])
def test_job_that_may_be_paid_for_is_not_deleted(service: JobService, send: Send, stage: Stage, refused: bool) -> None:
    job = send()
    service.cancel(job.id, "anna")
    write(service, job, stage=stage)
    if refused:
        with pytest.raises(RequestError, match="may still run"):
            service.delete(job.id, "anna")
    else:
        service.delete(job.id, "anna")
    assert service.run_folder(job.id).root.exists() is refused


def test_end_that_was_written_down_is_not_brought_about_again(
    settings: Settings, service: JobService, send: Send
) -> None:
    """As after a kill between clearing away and telling the queue; without a token, so nothing can be asked."""
    job = send()
    trainer = RemoteTrainer(settings, TokenVault(), "an/image")
    watch = Watch(lambda: StopWish.none, lambda: False, lambda _text: None)
    write(service, job, stage=Stage.over, exit_code=3)
    assert trainer.is_under_way(service.run_folder(job.id))
    assert trainer.train(job, service.run_folder(job.id), watch) == 3


@pytest.mark.fault(54)
def test_job_whose_record_cannot_be_read_for_a_while_is_not_given_up(
    settings: Settings, service: JobService, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.remote.trainer._FILES_AWAY_S", 0.0)
    job, said = send(), list[str]()
    write(service, job, stage=Stage.over, exit_code=3)
    trainer, run = RemoteTrainer(settings, TokenVault(), "an/image"), service.run_folder(job.id)
    runs, elsewhere = settings.runs_dir, settings.home / "elsewhere"
    runs.rename(elsewhere)

    def note(text: str) -> None:
        said.append(text)
        elsewhere.rename(runs)

    with pytest.raises(OSError, match="is away"):
        trainer.is_under_way(run)
    assert trainer.train(job, run, Watch(lambda: StopWish.none, lambda: False, note)) == 3
    assert "cannot be read at the moment" in said[0]


@pytest.mark.fault(54)
@pytest.mark.parametrize(
    ("waits", "act"),
    [
        (True, lambda service, job_id: service.cancel(job_id, "anna")),
        (False, lambda service, job_id: service.resume(job_id, "anna", here=True)),
        (False, lambda service, job_id: service.delete(job_id, "anna")),
    ],
    ids=["cancel", "resume here", "delete"],
)
def test_job_that_may_be_paid_for_is_not_forgotten_while_its_record_cannot_be_read(
    service: JobService, send: Send, waits: bool, act: Callable[[JobService, str], None]
) -> None:
    job = send()
    if not waits:
        service.cancel(job.id, "anna")
    before = service.job(job.id, "anna").state
    file = service.run_folder(job.id).root / "remote.json"
    file.unlink()
    file.mkdir()
    with pytest.raises(RequestError, match="cannot be read at the moment"):
        act(service, job.id)
    assert service.job(job.id, "anna").state is before


def test_next_start_has_a_label_of_its_own(service: JobService, send: Send) -> None:
    record = write(service, send(), stage=Stage.over, hub_job="x", exit_code=1, began=10.0, ended=70.0)
    again = record.again(asked=True)
    assert (again.start, again.stage, again.hub_job, again.exit_code) == (2, Stage.new, "", None)
    assert again.ran_s(1000.0) == 60.0
    assert (again.timeout_s, record.again(asked=False).timeout_s) == (record.limit_s, record.limit_s - 60)
    assert not again.is_under_way


@pytest.mark.fault(35)
def test_cancel_of_a_job_that_was_resumed_while_its_job_runs_ends_that_first(service: JobService, send: Send) -> None:
    job = send()
    write(service, job, stage=Stage.sent)
    service.cancel(job.id, "anna")
    now_is = service.job(job.id, "anna")
    assert (now_is.state, now_is.wish) == (JobState.stopping, StopWish.cancel)
