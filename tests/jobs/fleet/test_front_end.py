"""A page whose jobs other machines train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app import build_services
from jobs.children import Children
from jobs.queueing.fleet import ServedDevice, SupervisorStore
from jobs.record.state import JobState
from jobs.record.store import Job, open_engine
from jobs.service import JobService
from tests.app_process import App
from tests.jobs.fleet.machines import machine
from tests.waiting import wait_until
from trainer.machine.devices import cpu
from trainer.settings import Settings
from ui.layout import header_html
from ui.services import Services


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    services = build_services(settings, [cpu()])
    yield services
    services.jobs.close()


def test_header_counts_the_machines_that_are_there(services: Services, settings: Settings) -> None:
    header = header_html(services)
    assert "No machine serves the queue at the moment." in header
    assert "Training on" not in header
    engine = open_engine(settings.jobs_database_url)
    for number in range(2):
        SupervisorStore(engine).beat(ServedDevice(f"gpu-0-{number}", "training", "Big GPU", is_gpu=True, host="far"))
    engine.dispose()
    header = header_html(services)
    assert "Training on <strong>2 × Big GPU</strong>" in header
    assert "far" not in header
    assert "demo model" not in header
    assert "No machine" not in header


def test_page_that_trains_too_counts_its_own_device(settings: Settings) -> None:
    services = build_services(settings.model_copy(update={"train_here": True}), [cpu()])
    assert f"Training on <strong>{cpu().name}</strong> with the small demo model" in header_html(services)
    services.jobs.close()


@pytest.mark.parametrize("train_here", [True, False])
def test_front_end_has_no_supervisor(settings: Settings, train_here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def spawn(arguments: list[str], **_options: Any) -> None:
        started.append(" ".join(arguments))

    monkeypatch.setattr("jobs.children.spawn", spawn)
    Children(settings.model_copy(update={"train_here": train_here}), [cpu()]).revive()
    assert any("generator" in words for words in started)
    assert any("worker" in words for words in started) is train_here


@pytest.mark.parametrize("any_remote", [True, False])
def test_jobs_at_hugging_face_are_followed_where_none_can_be_sent_any_more(
    settings: Settings, any_remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("jobs.children.spawn", lambda arguments, **_options: started.append(arguments))
    assert not settings.can_run_jobs
    Children(settings, [cpu()], any_remote=any_remote).revive()
    assert any("remote" in arguments for arguments in started) is any_remote


@pytest.mark.slow  # quick: above
def test_job_of_a_front_end_is_trained_by_another_machine(
    app: Callable[..., App], settings: Settings, service: JobService, submit: Callable[..., Job], tmp_path: Path
) -> None:
    told = {"STUDIO_SHARED": str(settings.shared), "STUDIO_DATABASE_URL": str(settings.database_url)}
    page = app("page", **told, STUDIO_TRAIN_HERE="0")
    job = submit("me", steps=10)
    page.start()
    wait_until(lambda: "generator" in page.processes())
    assert "supervisor" not in page.processes()
    assert service.everybodys_views()[0].job == service.job(job.id, "me")  # and no example beside it
    assert service.job(job.id, "me").state is JobState.waiting
    with machine(settings, tmp_path / "worker"):
        wait_until(lambda: service.job(job.id, "me").state is JobState.finished)
    assert service.speeds.estimate(service.run_folder(job.id).read_recipe()) is not None
