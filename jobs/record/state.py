"""States of a job, and which may follow which."""

from __future__ import annotations

from enum import StrEnum

from trainer.errors import EXIT_DONE, EXIT_FAILED, EXIT_REQUEST, EXIT_STOPPED


class JobState(StrEnum):
    """Where a job is in its life."""

    waiting = "waiting"
    running = "running"
    stopping = "stopping"
    stopped = "stopped"
    finished = "finished"
    failed = "failed"
    cancelled = "cancelled"


class StopWish(StrEnum):
    """What the owner asked of a running job."""

    none = "none"
    keep = "keep"
    cancel = "cancel"


OPEN_STATES = frozenset({JobState.waiting, JobState.running, JobState.stopping})
RESUMABLE_STATES = frozenset({JobState.stopped, JobState.failed, JobState.cancelled})
_NEXT: dict[JobState, frozenset[JobState]] = {
    JobState.waiting: frozenset({JobState.running, JobState.cancelled, JobState.failed}),
    JobState.running: frozenset(JobState),  # running or waiting again: after a restart
    JobState.stopping: frozenset(
        {JobState.stopped, JobState.finished, JobState.failed, JobState.cancelled, JobState.waiting}
    ),
    JobState.stopped: frozenset({JobState.waiting}),
    JobState.failed: frozenset({JobState.waiting}),
    JobState.cancelled: frozenset({JobState.waiting}),
    JobState.finished: frozenset(),
}


def may_follow(current: JobState, following: JobState) -> bool:
    """Whether a job may go from one state to the other."""
    return following in _NEXT[current]


def outcome(exit_code: int, wish: StopWish, *, artifact_is_whole: bool) -> JobState:
    """The state that a run's end means. Finished needs both exit 0 and a whole artifact."""
    if wish is StopWish.cancel:
        return JobState.cancelled
    if exit_code == EXIT_DONE and artifact_is_whole:
        return JobState.finished
    if exit_code == EXIT_STOPPED:
        return JobState.stopped
    return JobState.failed


def explain_exit(exit_code: int) -> str:
    """What an exit without an explanation of its own means."""
    if exit_code == -9:
        return "The training process was killed by the system, most likely because memory ran out."
    if exit_code < 0:
        return f"The training process was ended by signal {-exit_code}."
    if exit_code in (EXIT_FAILED, EXIT_REQUEST):
        return "Training failed; the log holds the details."
    return f"The training process ended with code {exit_code}."
