"""Whose turn it is: whoever has jobs open comes after whoever has none, but not for ever."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from jobs.record.remote_run import read_remote
from jobs.record.store import Job
from trainer.run_folder import RunFolder

_HEAD_START_MIN = 120
"""How much later others' jobs may come and still go first, for each job that its owner has open before it."""


def own_before(own: Iterable[Job], runs_dir: Path, *, remote: bool) -> int:
    """How many of an owner's open jobs are in the queue that a new one joins: to train here, or at Hugging Face."""
    return sum((read_remote(RunFolder(runs_dir / job.id)) is not None) == remote for job in own)


def turn(queued: float, before: int) -> int:
    """The priority of a job that is queued at this moment after so many of its owner's; the smallest is served first.

    It never changes, and grows with time: a job that has waited for long is overtaken by nobody who comes now.
    """
    return int(queued // 60) + before * _HEAD_START_MIN
