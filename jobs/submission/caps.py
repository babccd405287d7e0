"""How many jobs may be open, for each owner and for all together."""

from __future__ import annotations

from jobs.record.state import OPEN_STATES
from jobs.record.store import Job, JobStore
from trainer.errors import RequestError

MAX_OPEN_PER_OWNER = 8
MAX_OPEN = 200


def check_caps(store: JobStore, owner: str, *, coming: int = 1) -> list[Job]:
    """The owner's open jobs. Raises RequestError where `coming` more are over a cap."""
    open_jobs = store.in_state(*OPEN_STATES)
    own = [job for job in open_jobs if job.owner == owner]
    if len(own) + coming > MAX_OPEN_PER_OWNER:
        many = "" if coming == 1 else f" {coming} more would be over the limit of {MAX_OPEN_PER_OWNER}."
        raise RequestError(f"You have {len(own)} jobs waiting or running; wait for one to end, or cancel one.{many}")
    if len(open_jobs) + coming > MAX_OPEN:
        raise RequestError("The queue is full. Please come back in a while; nothing was queued.")
    return own
