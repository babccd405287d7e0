"""Brings back rows of the jobs table from run folders: after a lost database, or a disk restored from the mirror."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from jobs.publishing.service import Publishing
from jobs.record.job_file import JobFile, read_job_file
from jobs.record.remote_run import read_remote
from jobs.record.run_summary import summary_of_run
from jobs.record.state import OPEN_STATES, JobState, StopWish
from jobs.record.store import Job, JobStore
from trainer.errors import RequestError
from trainer.run_folder import RunFolder

log = logging.getLogger(__name__)


def restore_rows(store: JobStore, publishing: Publishing, runs_dir: Path, *, enqueue: Callable[[Job], None]) -> int:
    """Add rows for run folders whose job the table does not know, and queue the open ones; returns how many."""
    added = 0
    for file, run in _lost(store, runs_dir):
        try:
            summary = summary_of_run(run)
        except RequestError as error:
            log.warning("the job %s (%s) cannot be brought back: %s", file.id, file.title, error)
            continue
        was_open = file.state in OPEN_STATES
        remote = read_remote(run)
        # what may have begun at Hugging Face must not be cancelled as if it never had: a Job runs, photos lie there
        again = JobState.running if remote is not None and remote.has_begun else JobState.waiting
        job = Job(
            id=file.id,
            owner=file.owner,
            title=file.title,
            **asdict(summary),
            state=again if was_open else file.state,
            wish=file.wish if was_open else StopWish.none,
            priority=file.priority if file.state is JobState.waiting else 1,
            attempt=file.attempt + 1,
            created=file.created,
            queued=file.queued or file.created,
            started=None,
            ended=None if was_open else file.created,
            message="Restored from its files.",
        )
        store.add(job)
        publishing.restore(run)
        if was_open:
            enqueue(job)
        added += 1
    return added


def _lost(store: JobStore, runs_dir: Path) -> list[tuple[JobFile, RunFolder]]:
    """Jobs without a row, in the order in which the queue served them: what was being trained, then who waited."""
    runs = [RunFolder(root) for root in runs_dir.iterdir()] if runs_dir.is_dir() else []
    found = [(file, run) for run in runs if (file := read_job_file(run)) is not None and file.id == run.root.name]
    lost = [(file, run) for file, run in found if store.find(file.id) is None]
    return sorted(lost, key=lambda entry: (entry[0].state is JobState.waiting, entry[0].priority, entry[0].queued))
