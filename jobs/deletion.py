"""Deletes ended jobs with everything that belongs to them, so that a kill in the middle leaves nothing half there."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from jobs.mirror.keeping import GOING, Keeping
from jobs.publishing.service import Publishing
from jobs.record.store import JobStore

log = logging.getLogger(__name__)


class Deletion:
    """Deletes jobs of one data root."""

    def __init__(self, store: JobStore, publishing: Publishing, keeping: Keeping, runs_dir: Path) -> None:
        self._store, self._publishing, self._keeping, self._runs_dir = store, publishing, keeping, runs_dir

    def delete(self, job_id: str) -> None:
        """Forget a job and remove its files, photos included."""
        run, going = self._runs_dir / job_id, self._runs_dir / f"{GOING}{job_id}"
        if run.exists():
            run.rename(going)  # at once out of everybody's sight
        self._finish(going)

    def finish(self) -> None:
        """Do what a kill or a full disk left undone."""
        for going in self._runs_dir.glob(f"{GOING}*"):
            try:
                self._finish(going)
            except (OSError, SQLAlchemyError):
                log.exception("%s is not gone yet; the next start goes on with it", going.name)

    def _finish(self, going: Path) -> None:
        """The files first: on a full disk nothing else can be written. Their folder is the sign that this goes on."""
        job_id = going.name.removeprefix(GOING)
        _empty(going)
        self._keeping.forget(job_id)
        self._store.delete(job_id)
        self._publishing.forget(job_id)
        shutil.rmtree(going, ignore_errors=True)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # it goes with the folder, or stays as that does
                entry.unlink()
