"""The process that copies: kept up to date, killed, without its mirror, and told to stop."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from jobs.mirror.copy_list import read_newest_list
from jobs.mirror.keeping import Keeping
from jobs.mirror.mirroring import Mirroring
from jobs.mirror.restore import restore_from_mirror
from jobs.open import open_service
from jobs.record.state import JobState
from jobs.record.store import Job
from jobs.service import JobService
from tests.command import run_module
from tests.disks import mirrored_settings, mounted
from tests.jobs.processes import jobs_process
from tests.waiting import PATIENCE_S, wait_until
from trainer.settings import Settings

Submit = Callable[..., Job]
BIG = 5_000_000
SLOW = """
import sys, time
from jobs.mirror import folder, mirroring
folder._CHUNK, mirroring.Mirroring._beat = 10_000, lambda _: time.sleep(0.2)
from jobs.__main__ import main
sys.exit(main(["mirror"]))
"""
"""As `python -m jobs mirror`, on a disk that takes fifty kilobytes a second."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return mirrored_settings(tmp_path)


@pytest.fixture
def keeping(settings: Settings) -> Keeping:
    return Keeping(settings)


def mirroring(settings: Settings) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """The copying process over a data root; killed at the end if it still runs."""
    return jobs_process("mirror", settings.home, STUDIO_MIRROR=str(settings.mirror))


def copies(settings: Settings) -> Path:
    assert settings.mirror is not None
    return settings.mirror / "concept-studio" / "runs"


def listed(settings: Settings, job: Job) -> dict[str, str]:
    """The files that the mirror has of a job, by path, with their hashes."""
    try:
        copy = read_newest_list(copies(settings) / job.id)
    except FileNotFoundError:  # a newer list took its place
        return {}
    return {file.path: file.sha256 for file in copy.files} if copy else {}


def attempts(settings: Settings) -> Mirroring:
    assert settings.mirror is not None
    return Mirroring(settings, settings.mirror)


def test_jobs_are_copied_as_they_change_and_deleted_ones_are_forgotten(
    settings: Settings, service: JobService, keeping: Keeping, submit: Submit
) -> None:
    job, other = submit(), submit("ben")
    with mirroring(settings) as process:
        wait_until(lambda: listed(settings, job) and listed(settings, other))
        before = listed(settings, job)["job.json"]
        service.cancel(job.id, "anna")
        wait_until(lambda: listed(settings, job).get("job.json") not in (None, before))
        service.delete(job.id, "anna")
        wait_until(lambda: not (copies(settings) / job.id).exists())
        wait_until(lambda: keeping.forgotten() == [])
        assert keeping.status().last_copy is not None
        run = service.run_folder(other.id)
        run.events_file.write_text('{"event": "phase"}\n')
        process.terminate()  # what was not copied yet is copied at the end
        assert process.wait(PATIENCE_S) == 0
    assert "events.jsonl" in listed(settings, other)
    shutil.rmtree(settings.home)
    restored = open_service(settings)
    try:
        assert restore_from_mirror(settings, keeping) == 1
        assert restored.rebuild() == 1
        assert [view.job.id for view in restored.everybodys_views()] == [other.id]
    finally:
        restored.close()


def test_waiting_places_come_back(settings: Settings, service: JobService, keeping: Keeping, submit: Submit) -> None:
    jobs = [submit(owner) for owner in ("anna", "anna", "ben", "carl", "anna")]
    places = [service.view(job.id, job.owner).place for job in jobs]
    assert places == [1, 4, 2, 3, 5]
    assert attempts(settings).attempt()
    service.close()
    shutil.rmtree(settings.home)
    restore_from_mirror(settings, keeping)
    restored = open_service(settings)
    try:
        assert restored.rebuild() == 5
        assert [restored.view(job.id, job.owner).place for job in jobs] == places
    finally:
        restored.close()


def test_kill_while_copying_leaves_nothing_that_looks_whole_and_the_next_start_completes_it(
    settings: Settings, service: JobService, keeping: Keeping, submit: Submit
) -> None:
    job = submit()
    run = service.run_folder(job.id)
    run.artifact.mkdir()
    (run.artifact / "model.safetensors").write_bytes(os.urandom(BIG))
    copy = copies(settings) / job.id / "artifact" / "model.safetensors"
    with jobs_process("mirror", settings.home, program=("-c", SLOW), STUDIO_MIRROR=str(settings.mirror)) as process:
        wait_until(copy.exists)
        process.kill()
        process.wait()
    assert not listed(settings, job)
    elsewhere = Settings(home=settings.home.with_name("elsewhere"), mirror=settings.mirror)
    assert restore_from_mirror(elsewhere, Keeping(elsewhere)) == 0
    assert not (elsewhere.runs_dir / job.id).exists()
    with mirroring(settings):
        wait_until(lambda: listed(settings, job))
    assert copy.stat().st_size == BIG
    assert restore_from_mirror(elsewhere, Keeping(elsewhere)) == 1


def test_mirror_that_goes_and_comes_back(settings: Settings, keeping: Keeping, submit: Submit, tmp_path: Path) -> None:
    assert settings.mirror is not None
    process, first = attempts(settings), submit()
    assert process.attempt()
    settings.mirror.rename(tmp_path / "away")
    settings.mirror.mkdir()  # what an unmounted folder looks like
    second = submit()
    assert not process.attempt()
    assert "is not there" in keeping.status().trouble
    assert list(settings.mirror.iterdir()) == []
    settings.mirror.rmdir()
    (tmp_path / "away").rename(settings.mirror)
    assert process.attempt()
    assert keeping.status().trouble == ""
    assert listed(settings, first)
    assert listed(settings, second)


def test_mirror_holds_after_a_restart_what_it_held_before(settings: Settings, keeping: Keeping, submit: Submit) -> None:
    submit()
    ended = time.time()
    assert attempts(settings).attempt()
    assert keeping.kept_until() > ended
    shutil.rmtree(settings.home)
    assert restore_from_mirror(settings, keeping) == 1
    assert keeping.kept_until() <= ended  # not before somebody has looked
    restarted = attempts(settings)
    assert restarted.attempt()
    assert keeping.status().last_copy is None
    assert keeping.kept_until() > ended


def test_restarted_process_knows_the_mirror_that_the_app_began_with(
    settings: Settings, keeping: Keeping, submit: Submit, tmp_path: Path
) -> None:
    assert settings.mirror is not None
    submit()
    assert attempts(settings).attempt()
    settings.mirror.rename(tmp_path / "away")
    settings.mirror.mkdir()
    assert not attempts(settings).attempt()
    assert list(settings.mirror.iterdir()) == []


@pytest.fixture
def small_disk(settings: Settings) -> Iterator[Path]:
    """The mirror on a disk of 4 MB."""
    assert settings.mirror is not None
    with mounted(settings.mirror, "size=4m"):
        yield settings.mirror


@pytest.mark.fault(17)
def test_full_mirror_is_said_and_harms_neither_side(
    settings: Settings, service: JobService, keeping: Keeping, submit: Submit, small_disk: Path
) -> None:
    job, large, process = submit(), submit("ben"), attempts(settings)
    artifact = service.run_folder(large.id).artifact
    artifact.mkdir()
    (artifact / "model.safetensors").write_bytes(os.urandom(8_000_000))
    assert not process.attempt()
    assert keeping.status().trouble == "The mirror is full."
    assert listed(settings, job)  # one that does not fit keeps no other from it
    assert not listed(settings, large)
    assert (artifact / "model.safetensors").stat().st_size == 8_000_000
    (artifact / "model.safetensors").write_bytes(b"small")
    assert process.attempt()
    assert keeping.status().trouble == ""
    assert listed(settings, large)
    assert service.view(job.id, "anna").job.state is JobState.waiting


def test_full_data_root_ends_no_copying(
    settings: Settings, submit: Submit, keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, mirroring = submit(), attempts(settings)

    def full(_status: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(mirroring._keeping, "report", full)
        assert mirroring.attempt()
    assert listed(settings, job)
    assert not keeping.status().last_copy
    monkeypatch.setattr("jobs.mirror.mirroring._BEAT_S", -1.0)
    assert mirroring.attempt()
    assert keeping.status().last_copy


def test_second_process_for_a_data_root_refuses(settings: Settings, submit: Submit) -> None:
    submit()
    with mirroring(settings) as first:
        wait_until(lambda: (settings.runtime_dir / "mirror.lock").exists())
        wait_until(lambda: (settings.runtime_dir / "mirror.lock").read_text())
        second = run_module("jobs", "mirror", STUDIO_HOME=str(settings.home), STUDIO_MIRROR=str(settings.mirror))
        assert second.returncode == 2
        assert f"already served by pid {first.pid}" in second.stderr


def test_without_a_mirror_the_command_says_what_to_set(settings: Settings) -> None:
    result = run_module("jobs", "mirror")
    assert result.returncode == 2
    assert "STUDIO_MIRROR" in result.stderr
