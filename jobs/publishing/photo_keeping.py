"""How long photos are kept: until their job is deleted, or its finished result has been on the Hub for a week."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from jobs.record.publications import PublicationState, PublicationStore, published_at
from jobs.record.state import JobState
from jobs.record.store import JobStore
from trainer.photos.intake import DATASET_FILE
from trainer.run_folder import RunFolder

KEPT_DAYS = 7


def remove_published_photos(jobs: JobStore, publications: PublicationStore, runs_dir: Path, at: float) -> int:
    """Remove the photos of finished jobs that were published KEPT_DAYS before `at`; returns of how many jobs.

    A job that may still be resumed keeps its photos. What was known about them stays, in dataset.json: the card of a
    later publication, and a comparison, are made from that.
    """
    removed = 0
    for publication in publications.in_state(PublicationState.published):
        job, run = jobs.find(publication.job_id), RunFolder(runs_dir / publication.job_id)
        published = published_at(publication, run)
        if published is None or job is None or job.state is not JobState.finished:
            continue
        if at - published >= KEPT_DAYS * 24 * 3600:
            with contextlib.suppress(OSError):  # deleted meanwhile, or a disk that will not: publishing goes on
                removed += _remove_pictures(run.photos)
    return removed


def _remove_pictures(photos: Path) -> bool:
    pictures = [entry for entry in photos.iterdir() if entry.name != DATASET_FILE]
    for entry in pictures:
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    return bool(pictures)
