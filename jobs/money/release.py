"""Whether the hardware may be given back: pure, from the jobs of this data root to what stands in the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobs.record.publications import Publication, published_at
from jobs.record.store import EVERYBODY, Job
from trainer.quantities import duration
from trainer.run_folder import RunFolder


@dataclass(frozen=True)
class Standing:
    """A job with what decides about the hardware under it."""

    job: Job
    safe: bool
    """It left nothing that only this machine's disk has."""
    wish: bool
    """Its owner wants the hardware to be given back, and that was not settled yet."""


@dataclass(frozen=True)
class Verdict:
    """Whether anybody asked to give the hardware back, and what is in the way, in words; empty for nothing."""

    asked: bool
    obstacle: str = ""
    unsafe: int = 0
    """Results that only this machine's disk has."""


def is_safe(job: Job, run: RunFolder, publication: Publication | None, *, kept_until: float) -> bool:
    """Whether a job's result is on the Hub, is kept elsewhere, or there is none. Its checkpoints are not a result.

    `kept_until`: what was here before that moment is kept elsewhere.
    """
    if job.is_open:
        return False
    if job.owner == EVERYBODY or not run.has_result:
        return True
    if job.ended is not None and job.ended < kept_until:
        return True
    return published_at(publication, run) is not None


def judge(standings: Iterable[Standing], *, wanted: bool, sleep_s: int | None) -> Verdict:
    """What becomes of the hardware. `wanted`: there was a wish before, of a job that may be deleted now."""
    standings = list(standings)
    unsafe = sum(not s.safe for s in standings if not s.job.is_open)
    if not wanted and not any(s.wish for s in standings):
        return Verdict(asked=False, unsafe=unsafe)
    if any(s.job.is_open for s in standings):
        waits = "The hardware is given back when all jobs are done and their results safe."
        return Verdict(asked=True, obstacle=waits, unsafe=unsafe)
    return Verdict(asked=True, obstacle=_unsafe_words(unsafe, sleep_s) if unsafe else "", unsafe=unsafe)


def _unsafe_words(unsafe: int, sleep_s: int | None) -> str:
    results = "1 result is" if unsafe == 1 else f"{unsafe} results are"
    timer = "It never sleeps by itself" if sleep_s is None else f"Without visitors it sleeps after {duration(sleep_s)}"
    return (
        f"The hardware is kept, because {results} on this machine alone. Publish in the Library, or download and "
        f"delete; then it is given back. {timer}, and what is not published is gone then."
    )
