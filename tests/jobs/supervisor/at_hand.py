"""A trainer whose runs a test plays itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from jobs.queueing.queue import Queue
from jobs.record.store import Job
from jobs.runs.speed import Speeds
from jobs.supervisor.training import Watch
from trainer.run_folder import RunFolder


class AtHand:
    """A trainer without a device or a process: `train` is what a test says."""

    queue, key, label, at_once = Queue.training, "cpu", "A test", 1

    def __init__(
        self, train: Callable[[Watch], int], lease: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        self._train, self._lease = train, lease
        self.trained = 0

    def can_train(self) -> bool:
        return True

    def lease(self, _give_up: Callable[[], bool], /) -> AbstractContextManager[object]:
        return self._lease()

    def speeds(self, _run: RunFolder, /) -> Speeds:
        raise AssertionError("nothing was trained")

    def is_under_way(self, _run: RunFolder, /) -> bool:
        return False

    def train(self, _job: Job, _run: RunFolder, watch: Watch, /) -> int:
        self.trained += 1
        return self._train(watch)

    def leave(self) -> None: ...
