"""Brings jobs back from the mirror, before anything is trained: those that this data root does not have."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.mirror.copy_list import CopiedFile, CopyList, open_plain, plain_folder
from jobs.mirror.folder import Mirror, trouble_words
from jobs.mirror.keeping import GOING, Keeping, MirrorStatus
from trainer.errors import MirrorError
from trainer.settings import Settings
from trainer.whole_files import written_aside

log = logging.getLogger(__name__)
_CHUNK = 4 * 2**20
_LEFT_FREE = 10**9
_BEAT_S = 20.0
_SPARED = ("checkpoints/", "previews/", "events.jsonl", "log.txt")
"""What a job can do without where it is not whole; without anything else that its list names, it is not restored."""


def restore_from_mirror(settings: Settings, keeping: Keeping, stopped: Callable[[], bool] = lambda: False) -> int:
    """Restore every whole job that is not here; returns how many. Trouble is written down for the page, not raised.

    `stopped` is asked between jobs. This also settles which mirror this run of the app goes on with.
    """
    if keeping.mirror is None:
        return 0
    restoring = _Restoring(Mirror(keeping.mirror), settings.runs_dir, keeping)
    restoring.report(restoring=True)
    try:
        restoring.run(stopped)
    except (OSError, MirrorError) as error:
        log.warning("the mirror cannot be read: %s", error)
        words = trouble_words(error)
        restoring.report(note=f"{words} Jobs that are kept there come back when the app is started again with it.")
    else:
        restoring.report(note=restoring.words())
    return restoring.restored


@dataclass
class _Restoring:
    """One restore, and what became of the jobs in the mirror."""

    mirror: Mirror
    runs_dir: Path
    keeping: Keeping
    restored: int = 0
    damaged: int = 0
    too_large: int = 0

    def run(self, stopped: Callable[[], bool]) -> None:
        """All jobs. Raises OSError or MirrorError where the mirror is not there, or goes."""
        self.mirror.check()
        if not self.mirror.is_new:  # and so not the first start either
            self.runs_dir.mkdir(parents=True, exist_ok=True)
        for job_id in self.mirror.job_ids():
            if stopped():
                return
            if not self._is_known(job_id):
                self._restore(job_id)
                self.report(restoring=True)

    def _is_known(self, job_id: str) -> bool:
        """Whether it is here, or was and is to go."""
        folders = (self.runs_dir / job_id, self.runs_dir / f"{GOING}{job_id}")
        return self.keeping.is_forgotten(job_id) or any(folder.exists() for folder in folders)

    def report(self, *, restoring: bool = False, note: str = "") -> None:
        status = MirrorStatus(
            checked=time.time(), mirror_id=self.mirror.mirror_id, restoring=restoring, restored=self.restored, note=note
        )
        try:
            self.keeping.report(status)
        except OSError as error:  # the disk is full: that is no reason not to start
            log.warning("how the restore goes cannot be written down: %s", error)

    def _beat(self) -> None:
        """Now and then, show that this still goes on."""
        if time.time() - self.keeping.status().checked > _BEAT_S:
            self.report(restoring=True)

    def words(self) -> str:
        """What was not restored, in a sentence; empty where nothing is amiss."""
        said: list[str] = []
        if self.damaged:
            said.append(f"{self.damaged} of the jobs in the mirror {'is' if self.damaged == 1 else 'are'} not whole")
        if self.too_large:
            said.append(f"for {self.too_large} of the jobs in the mirror there was no room on this disk")
        left = "and stays" if self.damaged + self.too_large == 1 else "and stay"
        return f"{', '.join(said)} {left} there as it was." if said else ""

    def _restore(self, job_id: str) -> None:
        """One job, whole or not at all."""
        try:
            copy = self.mirror.newest(job_id)
            if copy is None:
                return  # the beginning of a copy, or the rest of a removed one
            if shutil.disk_usage(self.runs_dir).free < sum(file.bytes for file in copy.files) + _LEFT_FREE:
                self.too_large += 1
                return
            for beginning in self.runs_dir.glob(f".{job_id}.*"):  # of a restore that was killed
                shutil.rmtree(beginning, ignore_errors=True)
            with written_aside(self.runs_dir / job_id) as aside:
                _fetch(self.mirror.folder(job_id), copy, aside, self._beat)
        except (OSError, MirrorError) as error:
            log.warning("job %s is not restored: %s", job_id, error)
            self.mirror.check()  # it may be the mirror that went, not the job
            self.damaged += 1
        else:
            self.restored += 1


def _fetch(folder: Path, copy: CopyList, target: Path, beat: Callable[[], None]) -> None:
    """Copy back what a list names, checking each file. Raises MirrorError where what cannot be spared is not whole."""
    units: dict[str, list[CopiedFile]] = {}
    for file in copy.files:
        units.setdefault(file.unit, []).append(file)
    if "job.json" not in units:
        raise MirrorError("The list names no job.")
    for unit, files in units.items():
        if all(_fetch_file(folder, file, target, beat) for file in files):
            continue
        if not unit.startswith(_SPARED):
            raise MirrorError(f"{unit} is not what was written.")
        log.warning("%s of %s is not whole and left out", unit, folder.name)
        left_out = target / unit
        shutil.rmtree(left_out) if left_out.is_dir() else left_out.unlink(missing_ok=True)


def _fetch_file(folder: Path, file: CopiedFile, target: Path, beat: Callable[[], None]) -> bool:
    """One file, with its time; False where it is not there, or not what the list says."""
    here = target / file.path
    here.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    try:
        plain_folder(folder, str(Path(file.stored).parent))
        descriptor = open_plain(folder / file.stored)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as stream, here.open("xb") as out:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            out.write(chunk)
            beat()
    os.utime(here, ns=(file.mtime_ns, file.mtime_ns))
    return digest.hexdigest() == file.sha256
