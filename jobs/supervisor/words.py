"""What a job's card says of its runs: how one ended, and where the next goes on."""

from __future__ import annotations

from jobs.record.remote_run import read_remote
from jobs.record.run_summary import finished_words
from jobs.record.state import JobState, explain_exit
from jobs.runs.progress import Progress
from trainer.imports.task import has_task
from trainer.quantities import duration
from trainer.run_folder import RunFolder


def unexpected(error: Exception) -> str:
    """What a job fails with where nothing of ours foresaw it."""
    if isinstance(error, OSError):
        return f"The job's files cannot be used: {error}"
    return f"Something went wrong on our side ({type(error).__name__}). What was learnt so far is kept: try Resume."


def resuming(progress: Progress) -> str:
    """From where a start goes on; nothing for the first."""
    if not progress.step:
        return ""
    onwards = f"going on from step {progress.checkpoint_step}" if progress.checkpoint_step else "it begins anew"
    return f"Interrupted at step {progress.step} of {progress.total}; {onwards}."


def ending(state: JobState, exit_code: int, progress: Progress, run: RunFolder) -> str:
    """What is said of a run that ended."""
    match state:
        case JobState.finished:
            return finished_words(run)
        case JobState.cancelled:
            return "Cancelled." if has_task(run) else f"Cancelled at step {progress.step}."
        case JobState.stopped if has_task(run):
            return "Stopped. Resume begins it anew."
        case JobState.stopped if not progress.step:
            return f"Stopped before the first step{_at_limit(run)}; nothing was learnt yet. Resume begins with it."
        case JobState.stopped:
            where = f"at step {progress.step} of {progress.total}{_at_limit(run)}"
            return f"Stopped {where}; what was learnt so far is kept."
        case _ if progress.failure is not None:
            return f"{progress.failure.cause} {progress.failure.advice}".strip()
        case _:
            return explain_exit(exit_code)


def _at_limit(run: RunFolder) -> str:
    """Why a run stopped at Hugging Face, if it was for its limit."""
    remote = read_remote(run)
    return f", at its limit of {duration(remote.timeout_s)}" if remote is not None and remote.at_limit else ""
