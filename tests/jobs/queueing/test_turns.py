"""Whose job is served first, of those that wait for a device of this machine and of those sent to Hugging Face."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from jobs.queueing.turns import turn
from jobs.record.comparison import Order
from jobs.record.remote_run import RemoteRun
from jobs.record.store import Job
from jobs.service import JobService
from jobs.submission.caps import MAX_OPEN_PER_OWNER
from tests.engine.conftest import small_recipe
from trainer.errors import RequestError
from trainer.photos.intake import PhotoSet, take_folder

RENTED = RemoteRun(flavor="t4-small", machine="Nvidia T4 - small", usd_per_hour=0.4, limit_s=600, namespace="alice")
START, MINUTE, HOUR = 1_800_000_000.0, 60.0, 3600.0
Submit = Callable[..., Job]


@pytest.fixture
def send(service: JobService, tiny_model: Path, photos: Callable[[Path], PhotoSet]) -> Callable[[], Job]:
    """Queues a job of anna's for Hugging Face."""
    recipe = small_recipe(tiny_model, "textual-inversion")
    return lambda: service.submitting.submit("anna", recipe, photos, remote=RENTED)


@pytest.fixture
def photos(photo_folder: Path) -> Callable[[Path], PhotoSet]:
    return partial(take_folder, photo_folder)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the seconds since the start at which jobs are queued."""

    def at(moment: float) -> None:
        for module in ("service", "submission.submitting"):
            monkeypatch.setattr(f"jobs.{module}.now", lambda: START + moment)

    at(0)
    return at


def test_who_has_none_goes_first_though_they_came_later() -> None:
    assert turn(10 * MINUTE, 0) < turn(0, 1) < turn(0, 2)


def test_second_job_is_not_overtaken_for_ever() -> None:
    second = turn(0, 1)
    assert turn(HOUR, 0) < second
    assert turn(3 * HOUR, 0) > second


@pytest.mark.usefixtures("clock")
def test_jobs_sent_away_take_no_turn_from_one_that_trains_here(
    submit: Submit, send: Callable[[], Job], service: JobService, tiny_model: Path, photos: Callable[[Path], PhotoSet]
) -> None:
    away = [send(), send()]
    assert [job.priority for job in away] == [turn(START, 0), turn(START, 1)]
    assert submit("anna").priority == turn(START, 0)
    here, there = (
        Order(small_recipe(tiny_model, "dreambooth")),
        Order(small_recipe(tiny_model, "dreambooth-lora"), remote=RENTED),
    )
    pair = service.submitting.submit_pair("anna", (here, there), photos)
    assert [service.job(each, "anna").priority for each in pair.jobs] == [turn(START, 1), turn(START, 2)]


def test_jobs_here_and_sent_away_count_together_for_the_limit(submit: Submit, send: Callable[[], Job]) -> None:
    for _ in range(MAX_OPEN_PER_OWNER - 1):
        send()
    submit("anna")
    for more in (send, submit):
        with pytest.raises(RequestError, match="wait for one to end"):
            more()


def test_resumed_job_takes_its_turn_where_it_goes_on(
    submit: Submit, send: Callable[[], Job], service: JobService, clock: Callable[[float], None]
) -> None:
    away, here = send(), submit("anna")
    service.cancel(away.id, "anna")
    clock(10 * MINUTE)
    service.resume(away.id, "anna")
    assert service.job(away.id, "anna").priority == turn(START + 10 * MINUTE, 0)
    service.cancel(away.id, "anna")
    service.resume(away.id, "anna", here=True)
    assert service.job(away.id, "anna").priority == turn(START + 10 * MINUTE, 1)
    assert service.view(here.id, "anna").place == 1


def test_queue_serves_the_second_job_before_others_that_came_hours_later(
    submit: Submit, service: JobService, clock: Callable[[float], None]
) -> None:
    second = [submit("anna"), submit("anna")][1]
    clock(HOUR)
    submit("ben")
    assert service.view(second.id, "anna").place == 3
    clock(3 * HOUR)
    submit("carl")
    assert service.view(second.id, "anna").place == 3
