"""What a supervisor needs of whoever trains its jobs: a device of this machine, or a Job at Hugging Face."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from jobs.queueing.queue import Queue
from jobs.record.state import StopWish
from jobs.record.store import Job
from jobs.runs.speed import Speeds
from trainer.run_folder import RunFolder

POLL_S = 0.3
_WISH_S = 1.0
"""How often a pause asks the database: dozens of jobs may pause at the same time."""


@dataclass(frozen=True)
class Watch:
    """What a trainer asks and tells while it trains a job."""

    wish: Callable[[], StopWish]
    """What the owner wants of the job now; what they wanted last, where the database does not say."""
    leaving: Callable[[], bool]
    """Whether the supervisor was told to go."""
    note: Callable[[str], None]
    """Show a sentence on the job's card."""

    def pause(self, seconds: float, wish: StopWish) -> None:
        """Wait, but not once the supervisor is told to go, or the owner wants anything else than `wish`."""
        deadline, next_look = time.monotonic() + seconds, 0.0
        while (moment := time.monotonic()) < deadline and not self.leaving():
            if moment >= next_look:
                if self.wish() is not wish:
                    return
                next_look = moment + _WISH_S
            time.sleep(POLL_S)


class Trainer(Protocol):
    """Trains jobs of one queue, `at_once` at the same time. `key` names its lock, `label` is for messages."""

    @property
    def queue(self) -> Queue: ...

    @property
    def key(self) -> str: ...

    @property
    def label(self) -> str: ...

    @property
    def at_once(self) -> int: ...

    def can_train(self) -> bool:
        """Whether what it trains on can be used now; looks, where that is not known."""
        ...

    def lease(self, give_up: Callable[[], bool], /) -> AbstractContextManager[object]:
        """Hold what must be held while a job trains."""
        ...

    def speeds(self, run: RunFolder, /) -> Speeds:
        """Where the speed of a finished run is remembered."""
        ...

    def is_under_way(self, run: RunFolder, /) -> bool:
        """Whether `train` would find the run again, in progress or just ended, instead of starting it.

        Raises OSError where that cannot be told now.
        """
        ...

    def train(self, job: Job, run: RunFolder, watch: Watch, /) -> int | None:
        """See one run through; its files are in the run folder then.

        Returns what `python -m trainer resume` would: its exit code, negative where it was torn off and may be started
        again. None where the supervisor leaves and the run goes on without it.
        """
        ...

    def leave(self) -> None:
        """The supervisor goes: end what must not go on without it."""
        ...
