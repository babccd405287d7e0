"""Deletes ended jobs with everything that belongs to them, so that a kill in the middle leaves nothing half there."""

from __future__ import annotations

import shutil
from pathlib import Path

from jobs.mirror.keeping import Keeping
from jobs.publishing.service import Publishing
from jobs.record.store import JobStore

_GOING = ".going-"
"""Begins the name of a run folder that is being deleted."""


class Deletion:
    """Deletes jobs of one data root."""

    def __init__(self, store: JobStore, publishing: Publishing, keeping: Keeping, runs_dir: Path) -> None:
        self._store, self._publishing, self._keeping, self._runs_dir = store, publishing, keeping, runs_dir

    def delete(self, job_id: str) -> None:
        """Forget a job and remove its files, photos included."""
        run, going = self._runs_dir / job_id, self._runs_dir / f"{_GOING}{job_id}"
        if run.exists():
            run.rename(going)  # at once out of everybody's sight
        self._finish(going)

    def finish(self) -> None:
        """Do what a kill left undone."""
        for going in self._runs_dir.glob(f"{_GOING}*"):
            self._finish(going)

    def _finish(self, going: Path) -> None:
        job_id = going.name.removeprefix(_GOING)
        self._keeping.forget(job_id)
        self._store.delete(job_id)
        self._publishing.forget(job_id)
        shutil.rmtree(going, ignore_errors=True)
