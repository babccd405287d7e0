"""Counts what running jobs cost, and stops those that reach their limit. Needs the database alone, never the Hub."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from jobs.money.space_state import SpaceState
from jobs.record.bill import Bill, count, read_bill_for_certain, write_bill
from jobs.record.job_file import record_wish
from jobs.record.remote_run import read_remote_for_certain
from jobs.record.state import JobState, StopWish
from jobs.record.store import Job, JobStore
from trainer.imports.task import has_task
from trainer.run_folder import RunFolder

log = logging.getLogger(__name__)
_WRITE_S = 60.0
"""Between two writes for a job that just runs: the page and the next start add what has passed since the last one."""


class Counting:
    """The bills of one data root; `cap_usd` is the most that any job may cost."""

    def __init__(
        self, store: JobStore, runs_dir: Path, state: Callable[[], SpaceState | None], *, cap_usd: float | None
    ) -> None:
        self._store, self._runs_dir, self._state, self._cap_usd = store, runs_dir, state, cap_usd
        self._watched: set[str] | None = None
        self._unread: set[str] = set()

    def count(self, moment: float) -> None:
        """Bring the bills up to date."""
        running = self._store.in_state(JobState.running, JobState.stopping)
        if self._watched is None:  # what ended while nobody counted
            self._watched = {job.id for job in self._store.all_jobs()}
        open_ids = {job.id for job in running}
        before = [job for job_id in self._watched - open_ids if (job := self._store.find(job_id)) is not None]
        unread = {job.id for job in (*running, *before) if not self._counted(job, moment)}
        self._watched = open_ids | unread

    def _counted(self, job: Job, moment: float) -> bool:
        """Bring one bill up to date, unless what it says so far cannot be read: that is not to be written over."""
        try:
            self._count_job(job, moment)
        except OSError as error:
            if job.id not in self._unread:
                log.warning("the bill of job %s cannot be brought up to date now: %s", job.id, error)
            self._unread.add(job.id)
            return False
        self._unread.discard(job.id)
        return True

    def _count_job(self, job: Job, moment: float) -> None:
        run = RunFolder(self._runs_dir / job.id)
        if read_remote_for_certain(run) is not None:  # it trains on hardware of its own, and has a receipt of its own
            return
        known = read_bill_for_certain(run)
        bill = self._priced(known, job)
        if bill is None or not run.root.is_dir():
            return
        counted = count(bill, job, moment)
        if job.state is JobState.running and counted.reaches_limit:
            counted = counted.model_copy(update={"at_limit": True})
        is_news = (
            known is None
            or counted.running != known.running
            or (counted.at_limit, counted.machine, counted.usd_per_hour)
            != (known.at_limit, known.machine, known.usd_per_hour)
        )
        if counted != known and (is_news or abs(counted.counted_to - bill.counted_to) > _WRITE_S):
            write_bill(run, counted)
        if counted.at_limit and job.state is JobState.running:
            self._stop(job, run)

    def _stop(self, job: Job, run: RunFolder) -> None:
        wish = StopWish.cancel if has_task(run) else StopWish.keep  # what takes in or extracts has nothing to keep
        if self._store.set_wish(job.id, wish):
            record_wish(run, wish)

    def _priced(self, bill: Bill | None, job: Job) -> Bill | None:
        """The bill of a job on hardware that costs; one that was queued without conditions gets the owner's."""
        state = self._state()
        if state is None or not state.flavor or not job.is_open:  # what it runs on is not known yet
            return bill
        if bill is None:
            bill = Bill(limit_usd=self._cap_usd) if state.costs else None
        if bill is None or (bill.flavor == state.flavor and bill.usd_per_hour is not None):
            return bill
        if not state.costs:  # it was changed for hardware that is free
            return bill.on_hardware(state.flavor, state.machine, 0.0) if bill.usd_per_hour is not None else bill
        return bill.on_hardware(state.flavor, state.machine, state.usd_per_hour)
