"""`python app.py` as a whole: what is there at the start, and what a kill of any of its processes leaves."""

from __future__ import annotations

import errno
import os
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil
import pytest
from gradio import Blocks, Error
from gradio.utils import error_payload

import app as app_module
from jobs.children import Children
from jobs.one_page import OnePage
from jobs.open import open_service
from jobs.record.state import JobState
from jobs.service import JobService
from tests.app_process import App
from tests.engine.conftest import small_recipe
from tests.waiting import wait_until
from trainer.events import Finished, Started, read_events
from trainer.machine.devices import cpu
from trainer.machine.process import StopKind, StopSignal
from trainer.photos.intake import take_folder
from trainer.settings import Settings
from ui.owners import SINGLE_OWNER

MakeApp = Callable[..., App]
ALL = {"page", "supervisor", "generator", "publisher", "child"}
"""The processes of an app on a machine of one's own, while it trains."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[JobService]:
    """The jobs of the app's data root, seen from here."""
    service = open_service(Settings(home=tmp_path / "home"))
    yield service
    service.close()


@pytest.mark.fault(1, 2)
def test_job_outlives_the_kill_of_each_process_and_finishes_once(
    app: MakeApp, service: JobService, tiny_model: Path, photo_folder: Path
) -> None:
    # each kill comes as soon as it trains: no machine takes this many steps until the last
    recipe = small_recipe(tiny_model, "textual-inversion", steps=500, checkpoint_every_steps=10, preview_every_steps=0)
    job = service.submitting.submit(SINGLE_OWNER, recipe, lambda folder: take_folder(photo_folder, folder))
    run = service.run_folder(job.id)
    studio = app(STUDIO_EXAMPLE="0")
    studio.start()

    def starts() -> int:
        return sum(isinstance(e, Started) for e in read_events(run.events_file)) if run.events_file.exists() else 0

    def trains_again(after: int) -> bool:
        return starts() > after and run.checkpoints.exists() and studio.processes().keys() >= ALL

    wait_until(lambda: trains_again(0), "it trains", every_s=0.2)
    for part in ("generator", "child", "supervisor", "page"):
        before, victim = starts(), studio.processes()[part]
        victim.kill()
        if part == "page":
            assert studio.process is not None
            studio.process.wait()
            wait_until(lambda: not studio.processes(), "the orphans have ended", every_s=0.2)
            studio.start()
        elif part == "generator":
            before -= 1  # training does not even notice
        wait_until(lambda: studio.processes().get(part, victim) != victim, f"the {part} is back", every_s=0.2)  # noqa: B023
        wait_until(lambda: trains_again(before), f"training goes on after the kill of the {part}", every_s=0.2)  # noqa: B023
    wait_until(lambda: service.view(job.id, SINGLE_OWNER).job.state is JobState.finished, "the job is finished")

    events = list(read_events(run.events_file))
    resumed = [e.resumed_from for e in events if isinstance(e, Started)]
    assert len(resumed) == 4
    assert resumed == sorted(resumed)
    assert sum(isinstance(e, Finished) for e in events) == 1
    studio.stop()
    assert studio.processes() == {}


def test_page_answers_without_torch_and_the_example_trains_by_itself(app: MakeApp, service: JobService) -> None:
    studio = app()
    studio.start()
    with urllib.request.urlopen(studio.url) as answer:
        assert "Concept Studio" in answer.read().decode()
    wait_until(lambda: service.views(SINGLE_OWNER), "the example is queued")
    wait_until(lambda: "child" in studio.processes(), "the example trains", every_s=0.2)
    assert studio.process is not None
    page = psutil.Process(studio.process.pid)
    assert not [m.path for m in page.memory_maps() if "torch" in m.path]


def test_example_is_queued_at_the_first_start_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", example=True)
    for _ in range(2):
        services = app_module.build_services(settings, [cpu()])
        app_module.prepare_home(settings, services, [cpu()], StopSignal())
        queued = services.jobs.views(SINGLE_OWNER)
        services.jobs.close()
        assert len(queued) == 1


class _Launched:
    """A page that is not served; it says what gradio was told."""

    def __init__(self) -> None:
        self._queue, self.told = SimpleNamespace(), {}

    def queue(self, **_: object) -> None: ...

    def launch(self, **told: object) -> None:
        self.told = told


def test_page_shows_no_error_as_python_says_it(tmp_path: Path) -> None:
    settings, page = Settings(home=tmp_path / "home"), _Launched()
    services = app_module.build_services(settings, [cpu()])
    app_module.launch_page(cast("Blocks", page), services, settings)
    services.jobs.close()
    shown = error_payload(OSError("/a/folder/of/this/machine"), show_error=bool(page.told["show_error"]))
    assert shown["error"] is None
    assert error_payload(Error("Write a prompt first."), show_error=False)["error"] == "Write a prompt first."


class _WellChildren:
    """Children that are well; the second look at them is the last."""

    def __init__(self, stop: StopSignal) -> None:
        self._stop, self.looks = stop, 0

    def revive(self) -> None:
        self.looks += 1
        if self.looks == 2:
            self._stop.kind = StopKind.checkpoint


def test_photos_that_nobody_trained_are_removed_while_the_app_runs(
    tmp_path: Path, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, stop = Settings(home=tmp_path / "home"), StopSignal()
    services = app_module.build_services(settings, [cpu()])
    drafts = services.drafts
    draft, file = drafts.new_id(), next(photo_folder.glob("*.jpg"))
    drafts.add("anna", draft, file, source=file.name)
    yesterday = time.time() - 25 * 3600
    os.utime(drafts.folder("anna", draft), (yesterday, yesterday))
    monkeypatch.setattr(app_module, "_TIDY_EVERY_S", 0.0)
    children = cast("Children", _WellChildren(stop))
    app_module.look_after(children, services, tmp_path, OnePage(settings), stop)
    services.jobs.close()
    assert not drafts.folder("anna", draft).exists()


@pytest.mark.fault(17)
def test_step_of_the_start_that_fails_keeps_nobody_from_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    settings = Settings(home=tmp_path / "home", example=False)
    services = app_module.build_services(settings, [cpu()])
    monkeypatch.setattr(app_module, "restore_from_mirror", full)
    monkeypatch.setattr(services.jobs, "rebuild", full)
    monkeypatch.setattr(services.drafts, "remove_old", full)
    app_module.prepare_home(settings, services, [cpu()], StopSignal())
    services.jobs.close()
    assert caplog.text.count("No space left on device") >= 3


def test_child_that_cannot_be_started_is_tried_again_and_the_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    broken = ["publisher"]

    class Alive:
        exit_code = None

    def spawn(arguments: list[str], **_options: object) -> Alive:
        name = arguments[min(1, len(arguments) - 1)]
        if name in broken:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        started.append(name)
        return Alive()

    monkeypatch.setattr("jobs.children.spawn", spawn)
    children = Children(Settings(home=tmp_path / "home"), [cpu()])
    children.revive()
    assert "worker" in started
    assert "publisher" not in started
    broken.clear()
    children.revive()
    assert "publisher" not in started  # it has just been tried
    monkeypatch.setattr("jobs.children.time.monotonic", lambda: 10**9)
    children.revive()
    assert started.count("publisher") == 1
    assert started.count("worker") == 1
