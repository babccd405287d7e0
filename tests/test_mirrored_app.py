"""The whole app where the disk is not kept: killed without warning, its data folder wiped, and started again."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from jobs.mirror.copy_list import CopyList, read_newest_list
from jobs.mirror.keeping import Keeping
from jobs.mirror.mirroring import Mirroring
from jobs.mirror.restore import restore_from_mirror
from jobs.open import open_service
from jobs.record.state import JobState
from jobs.record.store import SINGLE_OWNER, Job
from jobs.service import JobService
from tests.app_process import App
from tests.disks import mirrored_settings
from tests.engine.conftest import go_on, small_recipe
from tests.waiting import wait_until
from trainer.artifact import check_hashes, read_manifest
from trainer.events import Finished, Started, Step, read_events
from trainer.photos.intake import take_folder
from trainer.prepare import prepare_run
from trainer.run_folder import RunFolder
from trainer.settings import Settings

MakeApp = Callable[..., App]
STEPS = 400


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return mirrored_settings(tmp_path)


@pytest.fixture
def studio(app: MakeApp, settings: Settings) -> App:
    return app(STUDIO_EXAMPLE="0", STUDIO_MIRROR=str(settings.mirror))


def submit(settings: Settings, base: Path, photos: Path, *, steps: int = STEPS) -> Job:
    """Queue a job in the data root, as the page does."""
    recipe = small_recipe(base, "textual-inversion", steps=steps, checkpoint_every_steps=10, preview_every_steps=0)
    service = open_service(settings)
    try:
        return service.submitting.submit(SINGLE_OWNER, recipe, lambda folder: take_folder(photos, folder))
    finally:
        service.close()


def copy_of(settings: Settings, job: Job) -> Path:
    assert settings.mirror is not None
    return settings.mirror / "concept-studio" / "runs" / job.id


def mirrored(settings: Settings, job: Job) -> CopyList:
    try:
        return read_newest_list(copy_of(settings, job)) or CopyList()
    except FileNotFoundError:  # a newer list took its place
        return CopyList()


def mirrored_state(settings: Settings, job: Job) -> str:
    """job.json as the mirror has it."""
    stored = [file.stored for file in mirrored(settings, job).files if file.path == "job.json"]
    with contextlib.suppress(FileNotFoundError):  # a newer one took its place
        return (copy_of(settings, job) / stored[0]).read_text() if stored else ""
    return ""


def lose_machine(studio: App, settings: Settings) -> None:
    """What a Space does when it restarts: no process and no file is left."""
    family = [process for process in psutil.process_iter() if _works_for(process, settings)]
    for process in family:
        process.kill()
    psutil.wait_procs(family)
    assert studio.process is not None
    studio.process.wait()
    shutil.rmtree(settings.home)
    settings.home.mkdir()


def _works_for(process: psutil.Process, settings: Settings) -> bool:
    try:
        return process.environ().get("STUDIO_HOME") == str(settings.home)
    except psutil.Error:
        return False


def finished(service: JobService, job: Job) -> bool:
    views = service.views(SINGLE_OWNER)
    return bool(views) and service.view(job.id, SINGLE_OWNER).job.state is JobState.finished


def trained_without_a_break(like: RunFolder, photos: Path, root: Path) -> RunFolder:
    """The same recipe on a machine that lives on."""
    run, _ = prepare_run(root / "calm", like.read_recipe(), lambda folder: take_folder(photos, folder))
    go_on(run, root / "cache")
    return run


@pytest.mark.slow
@pytest.mark.fault(7)
def test_results_outlive_the_machine_and_training_goes_on_once_from_the_mirrored_checkpoint(
    studio: App, settings: Settings, tiny_model: Path, photo_folder: Path, tmp_path: Path
) -> None:
    kept, deleted = (submit(settings, tiny_model, photo_folder, steps=6) for _ in range(2))
    job = submit(settings, tiny_model, photo_folder)
    waiting = submit(settings, tiny_model, photo_folder, steps=6)
    studio.start()
    for ended in (kept, deleted):
        wait_until(lambda: '"finished"' in mirrored_state(settings, ended), "the result is in the mirror")  # noqa: B023
    kept_events = RunFolder(settings.runs_dir / kept.id).events_file.read_bytes()
    with opened(settings) as service:
        service.delete(deleted.id, SINGLE_OWNER)
    wait_until(lambda: not copy_of(settings, deleted).exists(), "the mirror forgets it")
    wait_until(lambda: "checkpoints" in str(mirrored(settings, job)), "a checkpoint is in the mirror")
    lose_machine(studio, settings)
    assert '"running"' in mirrored_state(settings, job)

    studio.start()
    with opened(settings) as service:
        wait_until(lambda: finished(service, job), "the job is finished")
        assert {view.job.id for view in service.views(SINGLE_OWNER)} == {kept.id, job.id, waiting.id}
        assert_kept(service.run_folder(kept.id), kept_events)
        assert service.view(kept.id, SINGLE_OWNER).job.state is JobState.finished
        assert_trained_once(service.run_folder(job.id), photo_folder, tmp_path)
        service.cancel(waiting.id, SINGLE_OWNER)


@contextmanager
def opened(settings: Settings) -> Iterator[JobService]:
    service = open_service(settings)
    try:
        yield service
    finally:
        service.close()


def assert_kept(run: RunFolder, events: bytes) -> None:
    """The result is whole, and nothing was trained again."""
    check_hashes(run.artifact, read_manifest(run.artifact))
    assert run.events_file.read_bytes() == events


def assert_trained_once(run: RunFolder, photos: Path, root: Path) -> None:
    """It went on from a checkpoint, and learnt what it would have learnt on a machine that lives on."""
    events = list(read_events(run.events_file))
    starts = [event.resumed_from for event in events if isinstance(event, Started)]
    assert len(starts) == 2
    assert 0 < starts[1] < STEPS
    assert sum(isinstance(event, Finished) for event in events) == 1
    steps = sorted({event.step for event in events if isinstance(event, Step)})
    assert steps[-1] == STEPS
    assert max(after - before for before, after in pairwise(steps)) <= 20  # the loss curve has no hole
    calm = trained_without_a_break(run, photos, root)
    for file in read_manifest(calm.artifact).files:
        assert (run.artifact / file.path).read_bytes() == (calm.artifact / file.path).read_bytes(), file.path


@pytest.mark.slow
def test_stop_leaves_the_newest_step_in_the_mirror(
    studio: App, settings: Settings, tiny_model: Path, photo_folder: Path
) -> None:
    job = submit(settings, tiny_model, photo_folder, steps=5000)
    studio.start()
    run = RunFolder(settings.runs_dir / job.id)
    wait_until(lambda: run.checkpoints.is_dir() and any(run.checkpoints.iterdir()), "it trains")
    studio.stop()
    newest = max(folder.name for folder in run.checkpoints.iterdir())
    assert f"checkpoints/{newest}/weights.safetensors" in {file.path for file in mirrored(settings, job).files}
    (events,) = [file for file in mirrored(settings, job).files if file.path == "events.jsonl"]
    assert events.bytes == run.events_file.stat().st_size


def test_events_only_grow_from_copy_to_copy(settings: Settings, tiny_model: Path, photo_folder: Path) -> None:
    job = submit(settings, tiny_model, photo_folder)
    run = RunFolder(settings.runs_dir / job.id)
    assert settings.mirror is not None
    run.events_file.write_text('{"event": "phase", "phase": "prepare"}\n{"event": "ph')
    copied = run.events_file.read_bytes()
    assert Mirroring(settings, settings.mirror).attempt()
    shutil.rmtree(settings.home)
    assert restore_from_mirror(settings, Keeping(settings)) == 1
    run.events(Finished(artifact="artifact", seconds=1.0))
    assert run.events_file.read_bytes().startswith(copied + b"\n")
    assert len(list(read_events(run.events_file))) == 2
