"""The table of publications, as the publisher reads it twice a second."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jobs.publishing.publish import Published
from jobs.publishing.publisher import Publisher
from jobs.record.publications import Publication, PublicationState
from jobs.record.state import JobState
from tests.jobs.made_by_hand import make_job
from trainer.run_folder import MANIFEST_FILE, RunFolder
from trainer.settings import Settings


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(Settings(home=tmp_path / "home"))


def add(publisher: Publisher, job_state: JobState, **publication: Any) -> str:
    job = make_job(state=job_state)
    publisher._jobs.add(job)
    run = RunFolder(publisher._settings.runs_dir / job.id)
    publisher._publications.put(replace(Publication(job.id, "alice/mug", private=True), **publication), run)
    return job.id


def leave_concept(publisher: Publisher, job_id: str) -> None:
    artifact = RunFolder(publisher._settings.runs_dir / job_id).artifact
    artifact.mkdir()
    (artifact / MANIFEST_FILE).touch()


def test_only_what_is_over_and_left_a_concept_and_waits_for_nothing_is_due(publisher: Publisher) -> None:
    due = add(publisher, JobState.stopped)
    others = [
        add(publisher, JobState.running),
        add(publisher, JobState.finished, state=PublicationState.published),
        add(publisher, JobState.finished, next_try=9e9),
    ]
    add(publisher, JobState.failed)  # and left nothing
    for job_id in (due, *others):
        leave_concept(publisher, job_id)
    assert publisher._due() == [due]


def test_many_that_may_never_be_due_cost_one_question(publisher: Publisher) -> None:
    for _ in range(20):
        add(publisher, JobState.failed)
    asked: list[str] = []
    listen: Any = sa.event.listen
    listen(publisher._publications._engine, "before_cursor_execute", lambda *what: asked.append(what[2]))
    assert publisher._due() == []
    assert len(asked) == 1


@pytest.mark.fault(54)
def test_what_became_of_it_is_written_down_when_the_folder_is_back(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network folder is away as the Hub answers, and is back when it is tried again."""
    job_id = add(publisher, JobState.finished)
    run = publisher._settings.runs_dir / job_id
    publication = publisher._publications.claim(job_id)
    assert publication is not None
    away = run.rename(run.with_name("away"))
    monkeypatch.setattr("time.sleep", lambda _seconds: away.rename(run))
    done = Published("alice/mug", "1" * 40, "https://hub/alice/mug")
    monkeypatch.setattr("jobs.publishing.publisher.publish", lambda *_, **__: done)
    publisher._attempt(publication)
    found = publisher._publications.find(job_id)
    assert found is not None
    assert (found.state, found.url) == (PublicationState.published, done.url)


def test_job_that_was_deleted_while_it_was_published_leaves_nothing(publisher: Publisher) -> None:
    job_id = add(publisher, JobState.finished)
    publication = publisher._publications.claim(job_id)
    assert publication is not None
    run = publisher._settings.runs_dir / job_id
    shutil.rmtree(run)
    publisher._jobs.delete(job_id)
    publisher._publications.delete(job_id)
    publisher._put(publication)
    assert publisher._publications.find(job_id) is None
    assert not run.exists()
