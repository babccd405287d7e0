"""The line of jobs that wait for machines here: the place of each, and when it should start."""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.record.remote_run import read_remote
from jobs.record.state import OPEN_STATES, JobState
from jobs.record.store import Job, JobStore
from jobs.runs.speed import Speeds
from jobs.runs.time_left import seconds_left, seconds_needed
from trainer.run_folder import RunFolder

_KEPT_S = 1.0


@dataclass(frozen=True)
class Line:
    """How things stood a moment ago. Times are in seconds from then; None: not known."""

    places: dict[str, int]
    """Of each job that waits; 1 = next."""
    starts: dict[str, float | None]
    """In how long each of them should start."""
    ahead: int
    """How many jobs a new one would come after."""
    ahead_s: float | None
    """How long those should take."""


class WaitingLine:
    """Looks at the jobs that are open, and keeps for a second what that took files to find out.

    Every tab of every visitor looks every other second, and each job in line has three files to read.
    """

    def __init__(self, store: JobStore, runs_dir: Path, speeds: Speeds, devices: Callable[[], int]) -> None:
        """`devices` says how many jobs train at the same time; none where no machine serves the queue."""
        self._store, self._runs_dir, self._speeds, self._devices = store, runs_dir, speeds, devices
        self._lock = threading.Lock()
        self._of: list[Job] | None = None
        self._found, self._found_at = Line({}, {}, 0, None), 0.0

    def look(self) -> Line:
        """The line as it is; a job that came, went or moved shows at once."""
        jobs = self._store.in_state(*OPEN_STATES)
        with self._lock:
            if jobs != self._of or time.monotonic() - self._found_at > _KEPT_S:
                self._found = self._line([job for job in jobs if read_remote(self._run(job.id)) is None])
                self._of, self._found_at = jobs, time.monotonic()
            return self._found

    def _line(self, jobs: list[Job]) -> Line:
        """Of jobs of machines that serve the queue, in the order in which they are served."""
        waiting = [job for job in jobs if job.state is JobState.waiting]
        left = [self._seconds(seconds_left, job) for job in jobs if job.state is not JobState.waiting]
        devices = self._devices()
        free = [*left, *[0.0] * (devices - len(left))] if devices else [math.inf]
        heapq.heapify(free)
        starts: dict[str, float | None] = {}
        for job in waiting:
            start = heapq.heappop(free)
            starts[job.id] = _known(start)
            heapq.heappush(free, start + self._seconds(seconds_needed, job))
        places = {job.id: place for place, job in enumerate(waiting, start=1)}
        return Line(places, starts, 0 if free[0] == 0 else len(jobs), _known(free[0]))

    def _seconds(self, of: Callable[[RunFolder, Speeds], float | None], job: Job) -> float:
        """What `of` says of a job; infinite where it is not known."""
        seconds = of(self._run(job.id), self._speeds)
        return seconds if seconds is not None else math.inf

    def _run(self, job_id: str) -> RunFolder:
        return RunFolder(self._runs_dir / job_id)


def _known(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
