"""How one run's dealings with the Hub end where they cannot end well."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from jobs.hub.tokens import TokenVault
from jobs.record.remote_run import Stage, read_remote, write_remote
from jobs.record.state import JobState, StopWish
from jobs.record.store import Job
from jobs.remote.bucket import Result
from jobs.remote.errand import Errand
from jobs.remote.trainer import RemoteTrainer
from jobs.runs.progress import Progress
from jobs.service import JobService
from jobs.supervisor.training import Watch
from jobs.supervisor.words import ending
from tests.hub.accounts import ALICE
from tests.hub.faults import FOREVER
from tests.hub.local_hub import LocalHub
from tests.jobs.finished_run import write_finished_run
from tests.jobs.remote.conftest import follow_until_it_is_asked_for, hub_jobs
from tests.jobs.watching import LONG
from trainer.artifact import check_hashes, read_manifest
from trainer.errors import EXIT_FAILED, EXIT_STOPPED, HubError
from trainer.events import Failed, read_events
from trainer.settings import Settings

Send = Callable[..., Job]
End = Callable[..., tuple[Job, int | None]]


@pytest.fixture
def ended(
    hub: LocalHub,
    alice: HfApi,
    settings: Settings,
    service: JobService,
    send: Send,
    tmp_path: Path,
    photo_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> End:
    """A Job has ended, and one file of its result is damaged, unless a test replaces it. Follows it to the end under a
    wish.
    """
    monkeypatch.setattr("jobs.remote.trainer._WAITS_S", (0,))
    monkeypatch.setattr("jobs.remote.errand._DAMAGED_TRIES", 2)
    monkeypatch.setattr("jobs.remote.errand._LISTED_LATE_S", 0)
    hub.hold_jobs(held=True)
    job = send()
    follow_until_it_is_asked_for(alice, settings, service, job, note=lambda _text: None)
    artifact = write_finished_run(tmp_path / "run", photo_folder).artifact
    files = [(str(file), f"artifact/{file.name}") for file in artifact.iterdir()]
    damaged = [(b"damaged", "artifact/notes.json"), (b'{"exit_code": 0}', "result.json")]
    alice.batch_bucket_files(f"alice/concept-studio-{job.id}", add=[*files, *damaged])
    hub.end_job(hub_jobs(alice)[0].id, stage="COMPLETED")

    def call(wish: StopWish, replaced: dict[str, bytes] | None = None) -> tuple[Job, int | None]:
        if replaced:
            add = [(content, name) for name, content in replaced.items()]
            alice.batch_bucket_files(f"alice/concept-studio-{job.id}", add=add)
        watch = Watch(lambda: wish, lambda: False, lambda _text: None)
        trainer = RemoteTrainer(settings, TokenVault(ALICE), "an/image")
        return job, trainer.train(job, service.run_folder(job.id), watch)

    return call


def test_result_that_stays_damaged_fails_and_stays_in_its_bucket_which_is_named(
    alice: HfApi, service: JobService, ended: End
) -> None:
    job, code = ended(StopWish.none)
    assert code == EXIT_FAILED
    failed = list(read_events(service.run_folder(job.id).events_file))[-1]
    assert isinstance(failed, Failed)
    assert f"alice/concept-studio-{job.id}" in failed.cause
    assert "Resume" in failed.advice
    assert [bucket.id for bucket in alice.list_buckets("alice")] == [f"alice/concept-studio-{job.id}"]
    record = service.remote_run(job.id)
    assert record is not None
    assert not record.may_cost  # it can be deleted here


WHOLE = {"artifact/notes.json": b"{}"}


def test_job_that_stopped_at_its_limit_is_stopped_and_kept_and_says_so(service: JobService, ended: End) -> None:
    result = Result(exit_code=EXIT_STOPPED, at_limit=True).model_dump_json().encode()
    job, code = ended(StopWish.none, WHOLE | {"result.json": result})
    assert code == EXIT_STOPPED
    run, record = service.run_folder(job.id), service.remote_run(job.id)
    check_hashes(run.artifact, read_manifest(run.artifact))
    assert record is not None
    assert record.stage is Stage.over
    words = ending(JobState.stopped, EXIT_STOPPED, Progress(step=240, total=800), run)
    assert words == "Stopped at step 240 of 800, at its limit of 10 min 00 s; what was learnt so far is kept."
    assert not record.again(asked=True).at_limit


def test_job_that_was_stopped_by_somebody_at_hugging_face_failed(service: JobService, ended: End) -> None:
    job, code = ended(StopWish.none, WHOLE | {"result.json": b'{"exit_code": 3}'})
    assert code == EXIT_FAILED
    assert "stopped at Hugging Face" in failure(service, job)


def test_result_that_says_nothing_fails_in_words(service: JobService, ended: End) -> None:
    job, code = ended(StopWish.none, {"result.json": b"[]"})
    assert code == EXIT_FAILED
    assert "ended without a result" in failure(service, job)


def failure(service: JobService, job: Job) -> str:
    failed = list(read_events(service.run_folder(job.id).events_file))[-1]
    assert isinstance(failed, Failed)
    return failed.cause


def test_real_job_that_comes_near_its_limit_stops_its_training(
    alice: HfApi, settings: Settings, service: JobService, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.remote.errand.stops_after_s", lambda _timeout_s: 0)
    job = send(**LONG)
    trainer = RemoteTrainer(settings, TokenVault(ALICE), "an/image")
    watch = Watch(lambda: StopWish.none, lambda: False, lambda _text: None)
    assert trainer.train(job, service.run_folder(job.id), watch) == EXIT_STOPPED
    record = service.remote_run(job.id)
    assert record is not None
    assert record.at_limit
    assert [j.status.stage for j in hub_jobs(alice)] == ["COMPLETED"]
    assert list(alice.list_buckets("alice")) == []


@pytest.mark.fault(17)
def test_cancelled_job_ends_also_where_nothing_of_it_can_come_home(
    alice: HfApi, ended: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr("jobs.remote.bucket.shutil.disk_usage", lambda _folder: full)
    assert ended(StopWish.cancel)[1] == EXIT_STOPPED
    assert list(alice.list_buckets("alice")) == []


def test_hub_that_says_no_more_is_told_of_a_cancel_first(
    alice: HfApi, settings: Settings, service: JobService, send: Send, hub: LocalHub
) -> None:
    hub.hold_jobs(held=True)
    job = send()
    follow_until_it_is_asked_for(alice, settings, service, job, note=lambda _text: None)
    (asked,) = hub_jobs(alice)
    hub.order_fault(f"GET /api/jobs/alice/{asked.id}", times=FOREVER, status=503)
    run, record = service.run_folder(job.id), service.remote_run(job.id)
    assert record is not None
    errand = Errand(alice, ALICE, "an/image", job.id, run, record)
    watch = Watch(lambda: StopWish.cancel, lambda: False, lambda _text: None)
    with pytest.raises(HubError, match="503"):
        errand.carry_out(watch, lost_token=False)
    hub.clear_faults()
    assert hub_jobs(alice)[0].status.stage == "CANCELED"


@pytest.mark.parametrize("wish", [StopWish.keep, StopWish.cancel])
@pytest.mark.parametrize("stage", [Stage.new, Stage.sending])
def test_stop_of_a_job_that_was_not_sent_yet_sends_nothing_and_asks_for_no_job(
    hub: LocalHub, alice: HfApi, settings: Settings, service: JobService, send: Send, stage: Stage, wish: StopWish
) -> None:
    job = send()
    run = service.run_folder(job.id)
    record = read_remote(run)
    assert record is not None
    write_remote(run, record.model_copy(update={"stage": stage}))
    trainer = RemoteTrainer(settings, TokenVault(ALICE), "an/image")
    assert trainer.train(job, run, Watch(lambda: wish, lambda: False, lambda _text: None)) == EXIT_STOPPED
    assert hub_jobs(alice) == []
    assert not [request for request in hub.requests() if request.line.startswith("POST /api/buckets")]


def test_job_that_cannot_be_sent_any_more_fails_in_words_and_sends_nothing(
    alice: HfApi, settings: Settings, service: JobService, send: Send
) -> None:
    job = send()
    trainer = RemoteTrainer(settings, TokenVault(ALICE), None)
    watch = Watch(lambda: StopWish.none, lambda: False, lambda _text: None)
    assert trainer.train(job, service.run_folder(job.id), watch) == EXIT_FAILED
    assert "not set up here any more" in failure(service, job)
    assert hub_jobs(alice) == []
    assert list(alice.list_buckets("alice")) == []


def test_stop_while_the_photos_are_sent_takes_them_back_and_asks_for_no_job(
    alice: HfApi, settings: Settings, service: JobService, send: Send
) -> None:
    job, said = send(), list[str]()
    watch = Watch(lambda: StopWish.keep if said else StopWish.none, lambda: False, said.append)
    trainer = RemoteTrainer(settings, TokenVault(ALICE), "an/image")
    assert trainer.train(job, service.run_folder(job.id), watch) == EXIT_STOPPED
    assert "Sending the photos" in said[0]
    assert hub_jobs(alice) == []
    assert list(alice.list_buckets("alice")) == []
