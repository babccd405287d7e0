"""A job at Hugging Face whose owner does not come back to sign in: it does not keep its place for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from jobs.hub.tokens import TokenVault
from jobs.record.remote_run import Stage, read_remote, write_remote
from jobs.record.state import StopWish
from jobs.record.store import Job
from jobs.remote.trainer import RemoteTrainer
from jobs.service import JobService
from jobs.supervisor.training import Watch
from trainer.errors import EXIT_FAILED, EXIT_STOPPED, HubError, HubTrouble
from trainer.events import Failed, Warned, read_events
from trainer.settings import Settings

DAY = 24 * 3600.0
Train = Callable[..., tuple[int | None, str, str]]


@pytest.fixture
def train(settings: Settings, service: JobService, send: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> Train:
    """Trains a job that was queued so long ago; gives the exit code, what was said last, and its bucket."""
    monkeypatch.setattr("jobs.remote.trainer.POLL_S", 0.01)
    monkeypatch.setattr("jobs.remote.trainer._WISH_POLL_S", 0.02)

    def call(
        queued_s: float, *, wish: StopWish = StopWish.none, waits_s: float = 2 * 3600.0, **changes: object
    ) -> tuple[int | None, str, str]:
        job, notes = send(limit_s=600), list[str]()
        run = service.run_folder(job.id)
        record = read_remote(run)
        assert record is not None
        write_remote(run, record.model_copy(update=changes))
        moments = iter([job.queued])  # when it begins to wait
        monkeypatch.setattr("jobs.remote.trainer.now", lambda: next(moments, job.queued + waits_s))
        watch = Watch(lambda: wish, lambda: bool(notes), notes.append)
        trainer = RemoteTrainer(settings, TokenVault(), "an/image")
        code = trainer.train(replace(job, queued=job.queued - queued_s), run, watch)
        assert read_remote(run) == record.model_copy(update=changes)  # so that a Resume finds it again
        said = [e for e in read_events(run.events_file) if isinstance(e, Failed | Warned)] if notes == [] else []
        words = "".join(f"{e.cause} {e.advice}" if isinstance(e, Failed) else e.text for e in said)
        return code, words or notes[-1], record.bucket(job.id)

    return call


def test_job_that_was_not_sent_within_a_day_fails_and_says_what_to_do(train: Train) -> None:
    code, words, _ = train(DAY)
    assert code == EXIT_FAILED
    assert words.endswith("Nobody signed in for it. Press Resume as soon as you are signed in.")
    code, words, bucket = train(DAY, stage=Stage.sending)
    assert code == EXIT_FAILED
    assert bucket in words


def test_job_that_was_to_be_stopped_before_it_was_sent_ends_as_stopped_and_names_its_bucket(train: Train) -> None:
    code, words, _ = train(DAY / 2, stage=Stage.sending, wish=StopWish.keep)
    assert code is None
    assert "photos can be taken back" in words
    code, words, bucket = train(DAY, stage=Stage.sending, wish=StopWish.keep)
    assert code == EXIT_STOPPED
    assert bucket in words


def test_job_that_must_be_over_fails_and_names_the_bucket_that_holds_its_result(train: Train) -> None:
    code, words, bucket = train(5 * DAY, stage=Stage.sent, began=1.0)
    assert code == EXIT_FAILED
    assert bucket in words
    assert "Resume, which fetches it" in words
    code, words, bucket = train(5 * DAY, stage=Stage.sent, began=1.0, wish=StopWish.cancel)
    assert code == EXIT_STOPPED
    assert bucket in words


@pytest.mark.fault(30)
def test_job_that_must_be_over_is_given_up_also_where_the_token_may_not_end_it(
    settings: Settings, service: JobService, send: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_errand: object, _watch: Watch, **_: bool) -> int:
        raise HubError("Your token may not run Jobs; it needs that right.", HubTrouble.forbidden)

    monkeypatch.setattr("jobs.remote.trainer.Errand.carry_out", refuse)
    job = send()
    run = service.run_folder(job.id)
    record = read_remote(run)
    assert record is not None
    write_remote(run, record.model_copy(update={"stage": Stage.sent, "hub_job": "x", "began": 1.0}))
    moments = iter([job.queued])
    monkeypatch.setattr("jobs.remote.trainer.now", lambda: next(moments, job.queued + DAY))
    watch = Watch(lambda: StopWish.none, lambda: False, lambda _text: None)
    code = RemoteTrainer(settings, TokenVault("a token"), None).train(job, run, watch)
    failed = list(read_events(run.events_file))[-1]
    assert code == EXIT_FAILED
    assert isinstance(failed, Failed)
    assert "may not run Jobs" in failed.cause
    assert record.bucket(job.id) in failed.cause


@pytest.mark.parametrize(
    ("queued_s", "waits_s", "changes"),
    [
        (DAY / 2, 7200.0, {}),
        (5 * DAY, 60.0, {}),  # the app was away, and its owner may come any moment
        (DAY, 3700.0, {"stage": Stage.sent}),  # nobody knows when it began
        (5 * DAY, 7200.0, {"stage": Stage.sent, "began": 4e9}),
    ],
)
def test_until_then_its_place_is_kept(
    train: Train, queued_s: float, waits_s: float, changes: dict[str, object]
) -> None:
    code, words, _ = train(queued_s, waits_s=waits_s, **changes)
    assert code is None
    assert words.startswith("Sign in again")
