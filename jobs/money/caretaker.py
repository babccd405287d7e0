"""Looks after a Space's hardware: what it is and costs, its sleep timer, and giving it back when that was asked for.

Each round does the one thing that is due and writes down how far it came, so that a kill at any moment costs nothing
but a repetition of a question.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.hub import back_off
from jobs.hub.prices import Price, read_price
from jobs.money.release import Standing, Verdict, is_safe, judge
from jobs.money.space import NO_SECRET, Hardware, OwnSpace
from jobs.money.space_state import Release, ReleaseStage, SpaceState, keep_wish_file, read_state, write_state
from jobs.record.bill import Bill, is_settled, read_bill, settle
from jobs.record.publications import PublicationStore
from jobs.record.remote_run import read_remote
from jobs.record.state import JobState
from jobs.record.store import Job, JobStore
from jobs.runs.speed import Speeds
from jobs.runs.time_left import seconds_left
from trainer.errors import HubError
from trainer.run_folder import RunFolder

log = logging.getLogger(__name__)
SETTLE_S = 60.0
"""How long nothing may stand in the way before the hardware goes: time to queue another job, or to see the result."""
_LAST_CALL_S = 5.0
"""Between saying so and doing it: from then on nothing is queued any more, and what was just being queued is seen."""
_JUDGE_S = 15.0
"""How often all jobs are looked at with their files, but for the last call, when it must be known."""
_LOOK_S, _LOOK_FREE_S, _PRICE_S = 60.0, 300.0, 3600.0
_WAITS_S = (15, 60, 300, 900, 1800)
_ROUND_S = 900
_SHORTEST_SLEEP_S, _LONGEST_SLEEP_S = 3600, 7 * 24 * 3600
_FORGOTTEN_SLEEP_S = 24 * 3600
"""For a result that keeps the hardware, where no timer could be set while its job ran: time to come and publish."""
_NO_SIGN_S = 3600.0
"""A job that did not get on for so long keeps no Space awake."""
_UNKNOWN_JOB_S = 6 * 3600.0
"""What a job may take of which nothing is known yet; its own speed is known after some steps."""


class Caretaker:
    """The hardware of one Space; what was here before `kept_until` says outlives this machine's disk elsewhere."""

    def __init__(
        self,
        home: Path,
        runs_dir: Path,
        speeds: Speeds,
        space: OwnSpace,
        stores: tuple[JobStore, PublicationStore],
        *,
        kept_until: Callable[[], float],
        prices: Callable[[str], Price | None] = read_price,
    ) -> None:
        self._home, self._runs_dir, self._space = home, runs_dir, space
        self._jobs, self._publications = stores
        self._kept_until, self._prices = kept_until, prices
        self._speeds = speeds
        self._next_look = self._next_sleep = self._price_read = self._judged = 0.0
        self._looks_in_vain = self._sleeps_in_vain = 0
        self.state: SpaceState | None = read_state(home)

    def round(self, moment: float) -> None:
        """Do what is due at this moment. Raises nothing that the Hub or the network can cause."""
        state = self.state or self._put(SpaceState())
        if moment >= self._next_look:
            state = self._look(state, moment)
        if not state.costs:
            return
        if (keep := keep_wish_file(self._home)).exists():
            self._settle_wishes()
            state = self._put(state, release_wanted=False, release=Release())
            keep.unlink()
        is_due = not 0 <= moment - self._judged < _JUDGE_S  # nor does a clock that was set back put it off
        if is_due or state.release.stage is ReleaseStage.asked:
            self._judged = moment
            self._mind(state, moment)

    def _mind(self, state: SpaceState, moment: float) -> None:
        """Set the timer, and go on with giving the hardware back, by how all jobs stand now."""
        jobs = self._jobs.all_jobs()
        verdict = self._judge(jobs, state)
        if moment >= self._next_sleep:
            here = [job for job in jobs if job.is_open and read_remote(self._run(job)) is None]
            state = self._mind_sleep(state, here, verdict, moment)
        self._release(state, verdict, moment)

    def _run(self, job: Job) -> RunFolder:
        return RunFolder(self._runs_dir / job.id)

    # what the hardware is

    def _look(self, state: SpaceState, moment: float) -> SpaceState:
        try:
            seen = self._space.look()
        except HubError as error:
            self._next_look = moment + back_off.wait_s(_WAITS_S, self._looks_in_vain, error)
            self._looks_in_vain += 1
            return self._put(state, trouble=str(error))
        self._looks_in_vain = 0
        self._next_look = moment + (_LOOK_FREE_S if seen.free else _LOOK_S)
        return self._price(self._door(self._seen(state, seen, moment)), moment)

    def _door(self, state: SpaceState) -> SpaceState:
        """Who may open the page. What was known stays where the Hub does not say."""
        if not state.costs:
            return state
        try:
            return self._put(state, public=self._space.is_public())
        except HubError as error:  # asked again with the next look
            return self._put(state, trouble=state.trouble or str(error))

    def _seen(self, state: SpaceState, seen: Hardware, moment: float) -> SpaceState:
        trouble = "" if seen.free or self._space.can_manage else NO_SECRET
        if seen.flavor == state.flavor:
            ours = state.sleep_is_ours and seen.sleep_s == state.sleep_s  # else the owner has set another one
            return self._put(state, sleep_s=seen.sleep_s, sleep_is_ours=ours, trouble=trouble)
        new: dict[str, Any] = {"flavor": seen.flavor, "sleep_s": seen.sleep_s, "trouble": trouble}
        new |= {"machine": "", "usd_per_hour": 0.0 if seen.free else None, "sleep_is_ours": False}
        self._price_read = 0.0
        if seen.free and state.release.stage in (ReleaseStage.asked, ReleaseStage.refused):
            return self._put(state, **new, release=_done(moment))
        if state.flavor:  # other hardware, by the owner's hand: what was asked for before concerned the old one
            self._settle_wishes()
            new |= {"release_wanted": False, "release": Release()}
        else:  # a disk that was just made: a mirror brought back the wishes of before, which may be about this hardware
            self._settle_wishes(but_for="" if seen.free else seen.flavor)
        return self._put(state, **new)

    def _settle_wishes(self, but_for: str = "") -> None:
        """The wishes of jobs that are done are over, but for those about hardware of this flavor."""
        for job in self._jobs.all_jobs():
            run = self._run(job)
            wished = None if job.is_open else _wished(run)
            if wished is not None and not (but_for and wished.flavor == but_for):
                settle(run)

    def _price(self, state: SpaceState, moment: float) -> SpaceState:
        if not state.costs or moment - self._price_read < _PRICE_S:
            return state
        try:
            price = self._prices(state.flavor)
        except HubError as error:  # asked again with the next look
            return self._put(state, trouble=state.trouble or f"The price list cannot be had. {error}")
        self._price_read = moment
        if price is None:
            return self._put(state, machine=state.flavor, usd_per_hour=None)
        return self._put(state, machine=price.machine, usd_per_hour=price.usd_per_hour)

    # the sleep timer, a dead-man switch

    def _mind_sleep(self, state: SpaceState, open_jobs: Sequence[Job], verdict: Verdict, moment: float) -> SpaceState:
        if open_jobs:
            return self._lengthen_sleep(state, open_jobs, moment)
        if verdict.obstacle and state.sleep_s is None and self._space.can_manage:
            return self._set_sleep(state, _FORGOTTEN_SLEEP_S, moment, ours=True)
        if not verdict.unsafe and (verdict.obstacle or not verdict.asked):  # all that is open trains elsewhere
            return self._restore_sleep(state, moment)
        return state

    def _lengthen_sleep(self, state: SpaceState, open_jobs: Sequence[Job], moment: float) -> SpaceState:
        """Set the timer where there is none, or it would end before the jobs do: it runs from the last visit on.

        Not for jobs that show no sign of life: the timer is there to end what they cost. Nor for those that train at
        Hugging Face, which are not among these: this hardware does nothing for them.
        """
        self._next_sleep = moment + _LOOK_S
        if not self._space.can_manage:
            return state
        signs = {job.id: moment - _last_sign(job, self._run(job)) for job in open_jobs}
        if state.sleep_s is not None and min(signs.values()) > _NO_SIGN_S:
            return state
        alive = [job for job in open_jobs if job.state is JobState.waiting or signs[job.id] <= _NO_SIGN_S] or open_jobs
        elapsed = max(0.0, moment - min(job.queued for job in alive))
        left = sum(self._seconds_left(job) for job in alive)
        if state.sleep_s is not None and state.sleep_s >= elapsed + 1.25 * left:
            return state
        wanted = math.ceil((elapsed + 2 * left + _ROUND_S) / _ROUND_S) * _ROUND_S
        return self._set_sleep(state, min(max(wanted, _SHORTEST_SLEEP_S), _LONGEST_SLEEP_S), moment, ours=True)

    def _restore_sleep(self, state: SpaceState, moment: float) -> SpaceState:
        """Nothing is left to do: a shorter timer of the owner's own holds again. One that was never set stays ours."""
        self._next_sleep = moment + _LOOK_S
        before = state.owners_sleep_s
        if not state.sleep_is_ours or before is None or state.sleep_s is None or before >= state.sleep_s:
            return state
        return self._set_sleep(state, before, moment, ours=False)

    def _set_sleep(self, state: SpaceState, seconds: int, moment: float, *, ours: bool) -> SpaceState:
        if state.sleep_s == seconds:
            return state
        owners = state.owners_sleep_s if state.sleep_is_ours else state.sleep_s
        try:
            seen = self._space.set_sleep(seconds)
        except HubError as error:
            self._next_sleep = moment + back_off.wait_s(_WAITS_S, self._sleeps_in_vain, error)
            self._sleeps_in_vain += 1
            return self._put(state, trouble=f"The sleep timer could not be set. {error}")
        self._sleeps_in_vain = 0
        return self._put(state, sleep_s=seen.sleep_s, owners_sleep_s=owners, sleep_is_ours=ours, trouble="")

    def _seconds_left(self, job: Job) -> float:
        left = seconds_left(self._run(job), self._speeds)
        return left if left is not None else _UNKNOWN_JOB_S

    # giving it back

    def _judge(self, jobs: Sequence[Job], state: SpaceState) -> Verdict:
        publications, kept_until = self._publications.find_all(job.id for job in jobs), self._kept_until()
        standings: list[Standing] = []
        for job in jobs:
            run = self._run(job)
            safe = is_safe(job, run, publications.get(job.id), kept_until=kept_until)
            standings.append(Standing(job, safe, self._wish(job, run)))
        return judge(standings, wanted=state.release_wanted, sleep_s=state.sleep_s)

    def _wish(self, job: Job, run: RunFolder) -> bool:
        if _wished(run) is None:
            return False
        if job.is_open and is_settled(run):  # it was resumed, and what was wished holds again
            settle(run, over=False)
        return not is_settled(run)

    def _release(self, state: SpaceState, verdict: Verdict, moment: float) -> None:
        state = self._put(state, release_wanted=verdict.asked)
        release = state.release
        if not verdict.asked:
            self._put(state, release=Release())
        elif verdict.obstacle:
            self._put(state, release=Release(stage=ReleaseStage.kept, note=verdict.obstacle))
        elif release.stage in (ReleaseStage.none, ReleaseStage.kept, ReleaseStage.done):
            note = "Everything is done and safe. The hardware is given back in a minute; the page then restarts."
            self._put(state, release=Release(stage=ReleaseStage.settling, since=moment, note=note))
        elif _is_last_call(release, moment):
            note = "The hardware is being given back; the page restarts."
            asked = {"stage": ReleaseStage.asked, "since": moment, "note": note, "next_try": moment + _LAST_CALL_S}
            self._put(state, release=release.model_copy(update=asked))
        elif release.stage is ReleaseStage.asked and moment >= release.next_try:
            self._give_back(state, moment)

    def _give_back(self, state: SpaceState, moment: float) -> None:
        try:
            seen = self._space.give_back()
        except HubError as error:
            wait_s = back_off.wait_s(_WAITS_S, state.release.tries, error)
            note = (
                f"The hardware could not be given back yet, and goes on to cost. {error} The next try is in "
                f"{back_off.about(wait_s)}; or choose CPU basic in the Space's Settings yourself."
            )
            again: dict[str, Any] = {"tries": state.release.tries + 1, "next_try": moment + wait_s}
            refused = Release(stage=ReleaseStage.refused, since=moment, note=note, **again)
            self._put(state, release=refused)
        else:
            self._seen(state, seen, moment)

    def _put(self, state: SpaceState, **changes: Any) -> SpaceState:
        """Take over the changed state; it is written where it differs from what was written last."""
        state = state.model_copy(update=changes)
        if state != self.state:
            write_state(self._home, state)
            self.state = state
        return state


def _wished(run: RunFolder) -> Bill | None:
    """The bill of a job whose owner wants the hardware given back after it, granted or not."""
    bill = read_bill(run)
    return bill if bill is not None and bill.release else None


def _last_sign(job: Job, run: RunFolder) -> float:
    """When a job last got on."""
    try:
        event = run.events_file.stat().st_mtime
    except OSError:
        event = 0.0
    return max(job.queued, job.started or 0.0, event)


def _is_last_call(release: Release, moment: float) -> bool:
    """Whether from now on nothing may begin any more, because the Hub is asked next."""
    if release.stage is ReleaseStage.refused:
        return moment >= release.next_try
    return release.stage is ReleaseStage.settling and moment - release.since >= SETTLE_S


def _done(moment: float) -> Release:
    when = f"{datetime.fromtimestamp(moment, UTC):%d %B %Y at %H:%M UTC}"  # read perhaps much later, and anywhere
    note = f"The hardware was given back on {when}, confirmed by the Hub."
    return Release(stage=ReleaseStage.done, since=moment, note=note)
