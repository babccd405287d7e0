"""Photos go a week after the result was published, and not before; what was known about them stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.publishing.photo_keeping import remove_published_photos
from jobs.record.job_file import JobFile
from jobs.record.publications import PUBLICATION_FILE, Publication, PublicationState, PublicationStore
from jobs.record.state import JobState
from jobs.record.store import JobStore, new_job_id, now, open_engine
from jobs.service import JobService
from tests.hub.local_hub import LocalHub
from tests.jobs.finished_run import write_finished_run
from tests.jobs.processes import publisher
from tests.waiting import wait_until
from trainer.photos.intake import DATASET_FILE, read_dataset
from trainer.run_folder import MANIFEST_FILE, RunFolder
from trainer.settings import Settings

DAY_S = 24 * 3600.0


@pytest.mark.parametrize(
    ("job_state", "publication_state", "days", "gone"),
    [
        (JobState.finished, PublicationState.published, 7.1, True),
        (JobState.finished, PublicationState.published, 6.9, False),
        (JobState.finished, PublicationState.needs_sign_in, 30, False),
        (JobState.stopped, PublicationState.published, 30, False),  # it may be resumed
    ],
)
def test_photos_are_kept_until_a_week_after_publication(
    service: JobService,
    settings: Settings,
    photo_folder: Path,
    job_state: JobState,
    publication_state: PublicationState,
    days: float,
    gone: bool,
) -> None:
    engine = open_engine(settings.jobs_database_url)
    jobs, publications = JobStore(engine), PublicationStore(engine)
    run = published_run(settings, photo_folder, job_state)
    assert service.rebuild() == 1
    publication = Publication(run.root.name, "alice/red-mug", private=True, state=publication_state)
    publications.put(publication, run)
    os.utime(run.root / PUBLICATION_FILE, times=(now() - days * DAY_S,) * 2)
    known = read_dataset(run.photos)

    assert remove_published_photos(jobs, publications, settings.runs_dir, now()) == int(gone)
    left = {entry.name for entry in run.photos.iterdir()}
    assert (left == {DATASET_FILE}) == gone
    assert read_dataset(run.photos) == known
    assert remove_published_photos(jobs, publications, settings.runs_dir, now()) == 0
    engine.dispose()


def test_result_that_is_newer_than_its_publication_keeps_the_photos(
    service: JobService, settings: Settings, photo_folder: Path
) -> None:
    run = published_run(settings, photo_folder, JobState.finished)
    assert service.rebuild() == 1
    engine = open_engine(settings.jobs_database_url)
    jobs, publications = JobStore(engine), PublicationStore(engine)
    publications.put(Publication(run.root.name, "alice/red-mug", private=True, state=PublicationState.published), run)
    os.utime(run.root / PUBLICATION_FILE, times=(now() - 8 * DAY_S,) * 2)
    os.utime(run.artifact / MANIFEST_FILE, times=(now() - 7.5 * DAY_S,) * 2)
    assert remove_published_photos(jobs, publications, settings.runs_dir, now()) == 0
    engine.dispose()


def test_publisher_looks_after_it(service: JobService, settings: Settings, hub: LocalHub, photo_folder: Path) -> None:
    run = published_run(settings, photo_folder, JobState.finished)
    assert service.rebuild() == 1
    engine = open_engine(settings.jobs_database_url)
    publication = Publication(run.root.name, "alice/red-mug", private=True, state=PublicationState.published)
    PublicationStore(engine).put(publication, run)
    engine.dispose()
    os.utime(run.root / PUBLICATION_FILE, times=(now() - 8 * DAY_S,) * 2)
    with publisher(settings, hub):
        wait_until(lambda: [entry.name for entry in run.photos.iterdir()] == [DATASET_FILE])


def published_run(settings: Settings, photo_folder: Path, state: JobState) -> RunFolder:
    job_id = new_job_id()
    run = write_finished_run(settings.runs_dir / job_id, photo_folder)
    run.job_file.write_text(
        JobFile(id=job_id, owner="anna", title="red-mug", state=state, created=now()).model_dump_json()
    )
    os.utime(run.artifact / MANIFEST_FILE, times=(now() - 60 * DAY_S,) * 2)  # trained long ago
    return run


def test_lost_database_does_not_begin_the_week_anew(settings: Settings, photo_folder: Path) -> None:
    run = write_finished_run(settings.runs_dir / new_job_id(), photo_folder)
    store = PublicationStore(open_engine(settings.jobs_database_url))
    publication = Publication(run.root.name, "alice/mug", private=True, state=PublicationState.published)
    store.put(publication, run)
    week_ago = now() - 7 * DAY_S
    os.utime(run.root / PUBLICATION_FILE, (week_ago, week_ago))
    store.delete(run.root.name)
    store.restore(run)
    assert store.find(run.root.name) == publication
    assert (run.root / PUBLICATION_FILE).stat().st_mtime == pytest.approx(week_ago)
