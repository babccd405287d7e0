"""What the page says and asks about money. It reads what the treasurer wrote and never calls the Hub itself."""

from __future__ import annotations

import time
from dataclasses import dataclass

from huggingface_hub import constants

from jobs.money.deployment import Deployment, find_deployment
from jobs.money.space import NO_SECRET
from jobs.money.space_state import ReleaseStage, SpaceState, keep_wish_file, read_state
from jobs.record.bill import Bill, dollars, is_settled, read_bill
from jobs.record.store import Job
from trainer.errors import RequestError
from trainer.imports.task import has_task
from trainer.quantities import duration
from trainer.run_folder import RunFolder
from trainer.settings import Settings

FREE_WORDS = "no cost"


@dataclass(frozen=True)
class Cost:
    """What a plan costs, in a few words, and what else is to be said about it."""

    words: str
    notes: tuple[str, ...] = ()


class Spending:
    """Money of one copy of the app."""

    def __init__(self, settings: Settings, *, has_gpu: bool) -> None:
        self._settings = settings
        self.deployment = find_deployment(settings, has_gpu=has_gpu)

    @property
    def space_url(self) -> str | None:
        """The Space's own page; None on a machine that is none."""
        space_id = self._settings.space_id
        return f"{constants.ENDPOINT}/spaces/{space_id}" if space_id is not None else None

    @property
    def has_secret(self) -> bool:
        return self._settings.space_token is not None

    def state(self) -> SpaceState | None:
        """What is known of the hardware; None where there is nothing to know, or not yet."""
        return read_state(self._settings.home) if self.deployment is not Deployment.local else None

    def at_stake(self) -> bool:
        """Whether training here may cost money. Before the Hub has answered, a GPU on a Space may."""
        state = self.state()
        if state is None or not state.flavor:
            return self.deployment is Deployment.duplicate_with_gpu
        return state.costs

    def plan(self, seconds: float | None) -> Cost:
        """What a job of that length costs here; None for a length that is not known."""
        if not self.at_stake():
            return Cost(FREE_WORDS)
        state = self.state()
        notes = () if self.has_secret else (NO_SECRET,)
        if state is None or state.usd_per_hour is None:
            return Cost("cost not known", (_no_price(state), *notes))
        rate = f"{state.machine} costs {dollars(state.usd_per_hour)} an hour, by the Hub's price list."
        if seconds is None:
            return Cost(f"{dollars(state.usd_per_hour)} an hour", (rate, *notes))
        return Cost(f"about {dollars(state.usd_per_hour * seconds / 3600)}", (rate, *notes))

    def conditions(self, limit_usd: float | None, *, release: bool, seconds: float | None) -> Bill | None:
        """On what conditions a job is queued; None where it costs nothing.

        Raises RequestError for a limit that its estimate exceeds or that cannot be kept, and for a wish that cannot be
        granted: nothing is queued then.
        """
        self.check_open()
        if not self.at_stake():
            return None
        state = self.state()
        limit = self._limit(limit_usd)
        if limit is not None:
            _check_limit(limit, state, seconds)
        if release and not self.has_secret:
            raise RequestError(f"Nothing was queued. {NO_SECRET}")
        if state is None:
            return Bill(limit_usd=limit, release=release)
        return Bill(
            flavor=state.flavor,
            machine=state.machine,
            usd_per_hour=state.usd_per_hour,
            limit_usd=limit,
            release=release,
        )

    def _limit(self, asked: float | None) -> float | None:
        """The lower of what this job may cost and what any job may."""
        if asked is not None and not 0 < asked < float("inf"):
            raise RequestError("The most that it may cost is an amount above 0; leave it empty for no limit.")
        limits = [limit for limit in (asked, self._settings.cost_cap) if limit is not None]
        return min(limits, default=None)

    @property
    def cap_usd(self) -> float | None:
        """The most that any job may cost."""
        return self._settings.cost_cap

    def check_open(self) -> None:
        """Raise RequestError while the hardware is being given back: what began now would be lost."""
        state = self.state()
        if state is not None and state.release.stage is ReleaseStage.asked:
            raise RequestError(
                "Too late: the hardware is being given back, and this page is about to restart. "
                "If it does not, try again in a minute."
            )

    def keep_hardware(self) -> None:
        """Take back every wish so far to give the hardware back. Raises RequestError where it is too late."""
        self.check_open()
        keep_wish_file(self._settings.home).touch()

    def lines(self, job: Job, run: RunFolder) -> list[str]:
        """What a job's card says about money; nothing for a job that costs nothing."""
        bill = read_bill(run)
        if bill is None:
            return []
        learns = not has_task(run)
        lines = [_running(bill, learns=learns) if job.is_open else _receipt(bill)]
        if bill.at_limit:
            end = "stopped, and what was learnt is kept" if learns else "cancelled. Resume begins it anew"
            lines.append(f"It reached its limit of {dollars(bill.limit_usd or 0)}: {end}.")
        if bill.release and not is_settled(run) and (state := self.state()) is not None:
            lines.append(state.release.note)
        return [line for line in lines if line]


def _check_limit(limit: float, state: SpaceState | None, seconds: float | None) -> None:
    if state is None or state.usd_per_hour is None:
        raise RequestError(
            f"Nothing was queued: without a price the limit of {dollars(limit)} cannot be kept. {_no_price(state)}"
        )
    estimate = state.usd_per_hour * (seconds or 0.0) / 3600
    if estimate > limit:
        raise RequestError(
            f"Nothing was queued: it would cost about {dollars(estimate)}, and the limit is {dollars(limit)}. "
            "Take fewer steps, or a higher limit."
        )


def _no_price(state: SpaceState | None) -> str:
    if state is None or not state.flavor:
        return (state.trouble if state is not None else "") or "The Hub is being asked for it; try again in a minute."
    return state.trouble or f"The Hub's price list does not name {state.flavor}."


def _running(bill: Bill, *, learns: bool) -> str:
    end = "stops at {} and keeps what was learnt" if learns else "is cancelled at {}"
    limit = f" It {end.format(dollars(bill.limit_usd))}." if bill.limit_usd is not None else ""
    if not bill.running:
        return limit.strip()
    seconds = bill.seconds + max(0.0, time.time() - bill.counted_to)
    return f"{_amount(bill, seconds)} so far, {_rate(bill)}.{limit}"


def _receipt(bill: Bill) -> str:
    if not bill.seconds:
        return ""
    total = f"Receipt: {_amount(bill, bill.seconds)} for {duration(bill.seconds)} of training, {_rate(bill)}."
    return f"{total} What the Space costs while it starts, waits and idles is not in it."


def _amount(bill: Bill, seconds: float) -> str:
    cost = bill.cost(seconds)
    return "cost not known" if cost is None else dollars(cost)


def _rate(bill: Bill) -> str:
    machine = bill.machine or bill.flavor or "paid hardware"
    return f"on {machine}" if bill.usd_per_hour is None else f"on {machine} at {dollars(bill.usd_per_hour)} an hour"
