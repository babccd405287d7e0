"""Keeps the mirror up to date: a process of its own, which alone copies to it.

It is no thread of the page, a supervisor or the publisher, because a mount that hangs takes the whole process with it
that waits for it, and because hashing gigabytes would be felt there.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from jobs.mirror.folder import Mirror, trouble_words
from jobs.mirror.keeping import Keeping
from trainer.errors import MirrorError
from trainer.machine.locks import hold_lock
from trainer.machine.process import StopSignal
from trainer.settings import Settings

log = logging.getLogger(__name__)
_POLL_S = 1.0
_RETRY_S = 30.0
_CHECK_S = 10.0
"""How often the mirror is looked at where there is nothing to do in it."""
_BEAT_S = 20.0
_LOGS_S = 15.0
"""How often a job is copied of which nothing but its logs grows."""
_LOGS = ("events.jsonl", "log.txt")


@dataclass(frozen=True)
class _Glance:
    """What a run folder looks like from outside: enough to see that something in it changed."""

    state: tuple[tuple[str, int, int], ...]
    logs: tuple[tuple[str, int, int], ...]
    fresh: bool
    """Touched a moment ago, so that a further change might look the same."""


class Mirroring:
    """Copies the jobs of one data root until it is told to stop."""

    def __init__(self, settings: Settings, place: Path) -> None:
        self._settings, self._keeping = settings, Keeping(settings)
        self._status = self._keeping.status()
        self._mirror = Mirror(place, mirror_id=self._status.mirror_id, beat=self._beat)
        self._seen: dict[str, tuple[_Glance, float]] = {}
        self._checked, self._tidied, self._went_through = 0.0, False, False
        self._stop = StopSignal()

    def serve(self) -> None:
        """Run until a stop is requested, then copy once more. Raises BusyError where another process does it."""
        self._stop.install()
        os.nice(10)  # training comes first
        self._settings.runtime_dir.mkdir(parents=True, exist_ok=True)
        with hold_lock(self._settings.runtime_dir / "mirror.lock", what="The mirror"):
            next_try = 0.0
            while not self._stop.requested():
                if time.monotonic() >= next_try:
                    well = self.attempt()
                    next_try = time.monotonic() + (_POLL_S if well else _RETRY_S)
                time.sleep(0.1)
            self.attempt(hurry=True)

    def attempt(self, *, hurry: bool = False) -> bool:
        """Do what there is to do; False where the mirror made trouble, which is then said on the page."""
        began = time.time()
        try:
            deleted, changed = self._keeping.forgotten(), self._changed(hurry=hurry)
            if deleted or changed or time.monotonic() - self._checked > _CHECK_S:
                self._check()
            for job_id in deleted:
                self._forget(job_id)
            self._copy(changed)
        except (OSError, MirrorError) as error:
            log.warning("the mirror: %s", error)
            self._checked = 0.0
            self._report(trouble=trouble_words(error))
            return False
        is_news = changed or not self._went_through  # else what was found whole before is so still, and costs no write
        self._went_through = True
        self._report(trouble="", behind=0, whole_at=began if is_news else self._status.whole_at)
        return True

    def _check(self) -> None:
        self._mirror.check()
        if not self._tidied:
            self._mirror.remove_beginnings(run.name for run in self._runs())
            self._tidied = True
        self._checked = time.monotonic()

    def _forget(self, job_id: str) -> None:
        self._mirror.forget(job_id)
        self._seen.pop(job_id, None)
        if not (self._settings.runs_dir / job_id).exists():
            self._keeping.has_forgotten(job_id)

    def _changed(self, *, hurry: bool) -> list[tuple[Path, _Glance]]:
        looks = [(run, _look(run)) for run in self._runs()]
        return [(run, glance) for run, glance in looks if glance and self._is_due(run, glance, hurry=hurry)]

    def _copy(self, changed: list[tuple[Path, _Glance]]) -> None:
        """Copy these jobs. One that cannot be copied does not keep the others from it."""
        failure: OSError | None = None
        for done, (run, glance) in enumerate(changed):
            self._report(behind=len(changed) - done)
            try:
                if self._mirror.copy(run):
                    self._report(last_copy=time.time())
                self._seen[run.name] = (glance, time.monotonic())
            except OSError as error:
                if run.exists():  # else it was deleted while it was copied
                    failure = error
        if failure is not None:
            raise failure

    def _runs(self) -> list[Path]:
        """Run folders of jobs; hidden ones are still being made."""
        if not self._settings.runs_dir.is_dir():
            return []
        runs = [run for run in sorted(self._settings.runs_dir.iterdir()) if not run.name.startswith(".")]
        return [run for run in runs if (run / "job.json").is_file() and not self._keeping.is_forgotten(run.name)]

    def _is_due(self, run: Path, glance: _Glance, *, hurry: bool) -> bool:
        before, when = self._seen.get(run.name, (None, 0.0))
        if before is None or before.state != glance.state or before.fresh:
            return True
        return before.logs != glance.logs and (hurry or time.monotonic() - when > _LOGS_S)

    def _beat(self) -> None:
        self._report()

    def _report(self, **changes: object) -> None:
        """Write the status down where it changed, and now and then to show that this process lives."""
        status = self._status.model_copy(update={**changes, "mirror_id": self._mirror.mirror_id})
        if status == self._status and time.time() - status.checked <= _BEAT_S:
            return
        self._status, told = status, status.model_copy(update={"checked": time.time()})
        try:
            self._keeping.report(told)
        except OSError as error:  # the disk of the data root is full: what can be copied away is copied all the more
            log.warning("the mirror's state cannot be written down: %s", error)
        else:
            self._status = told


def _look(run: Path) -> _Glance | None:
    """None where the run was deleted just now."""
    state: list[tuple[str, int, int]] = []
    logs: list[tuple[str, int, int]] = []
    try:
        state.append(("", run.stat().st_mtime_ns, 0))
        for entry in sorted(run.iterdir()):
            if not entry.name.startswith("."):
                facts = entry.lstat()
                (logs if entry.name in _LOGS else state).append((entry.name, facts.st_mtime_ns, facts.st_size))
    except FileNotFoundError:
        return None
    newest_s = max(mtime_ns for _, mtime_ns, _ in state) / 1e9
    return _Glance(tuple(state), tuple(logs), fresh=time.time() - newest_s < 2 * _POLL_S)
