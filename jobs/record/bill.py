"""What one job costs on hired hardware: a small file in its run folder, from the wish to the receipt.

Who queues the job writes the file once; after that the treasurer alone does.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from jobs.record.state import JobState, StopWish
from jobs.record.store import Job
from trainer.run_folder import RunFolder
from trainer.whole_files import read_model, read_model_for_certain, write_model

_FILE, _SETTLED = "cost.json", "hardware-settled"
_EXPORT_S = 180.0
_RESERVE_SHARE = 0.1


class Bill(BaseModel):
    """Conditions and costs of a job. Times are in seconds, moments in seconds since the epoch, money in US dollars."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    flavor: str = ""
    machine: str = ""
    usd_per_hour: float | None = None
    """None where the price could not be had."""
    limit_usd: float | None = None
    release: bool = False
    """The hardware is to be given back when everything is done."""
    seconds: float = 0.0
    """How long it has run, until `counted_to`."""
    counted_to: float = 0.0
    running: bool = False
    """Whether it ran then."""
    attempt: int = 1
    before_s: float = 0.0
    """How much of `seconds` was on other hardware, before it was changed."""
    before_usd: float = 0.0
    """What that cost."""
    earlier_usd: float = 0.0
    """What does not count towards the limit: who resumes a job that was stopped at it allows as much again."""
    at_limit: bool = False
    """It was stopped because it reached the limit."""

    def cost(self, seconds: float) -> float | None:
        """What so many seconds cost, those on earlier hardware at its price; None where no price is known."""
        if self.usd_per_hour is None:
            return None
        return self.before_usd + self.usd_per_hour * (seconds - self.before_s) / 3600

    def on_hardware(self, flavor: str, machine: str, usd_per_hour: float | None) -> Bill:
        """The bill of a job that goes on on other hardware; time without a known price counts at the new one."""
        before = {} if (spent := self.cost(self.seconds)) is None else {"before_s": self.seconds, "before_usd": spent}
        return self.model_copy(update={"flavor": flavor, "machine": machine, "usd_per_hour": usd_per_hour, **before})

    @property
    def reaches_limit(self) -> bool:
        """Whether it has to stop now, with a little left for exporting what was learnt."""
        if self.limit_usd is None or self.usd_per_hour is None:
            return False
        spent = self.cost(self.seconds) or 0.0
        reserve = min(self.usd_per_hour * _EXPORT_S / 3600, self.limit_usd * _RESERVE_SHARE)
        return spent - self.earlier_usd >= self.limit_usd - reserve


def count(bill: Bill, job: Job, moment: float) -> Bill:
    """The bill with everything that the job has run until now; counting again adds nothing."""
    if job.attempt != bill.attempt:
        resumed = bill.at_limit and job.wish is StopWish.none  # else it is still to stop, and was only begun again
        again = {"earlier_usd": bill.cost(bill.seconds) or 0.0, "at_limit": False} if resumed else {}
        bill = bill.model_copy(update={"attempt": job.attempt, **again})
    if job.started is None or job.state is JobState.waiting:
        return bill.model_copy(update={"running": False})
    if job.is_open:
        end = moment
    elif job.ended is not None and (bill.running or job.started > bill.counted_to):
        end = job.ended
    else:
        return bill
    seconds = max(0.0, end - max(bill.counted_to, job.started))  # a clock that was set back adds nothing
    counted = {"seconds": bill.seconds + seconds, "counted_to": end, "running": job.is_open}
    return bill.model_copy(update=counted)


def read_bill(run: RunFolder) -> Bill | None:
    """None for a job that costs nothing, or whose file is damaged."""
    return read_model(_file(run), Bill)


def read_bill_for_certain(run: RunFolder) -> Bill | None:
    """None for a job that costs nothing, or whose bill is damaged for good: then it is counted anew.

    Raises OSError where it cannot be read now: what the job has cost must not be forgotten.
    """
    try:
        return read_model_for_certain(_file(run), Bill)
    except ValueError:
        return None


def write_bill(run: RunFolder, bill: Bill) -> None:
    write_model(_file(run), bill)


def is_settled(run: RunFolder) -> bool:
    """Whether what this job's owner wished for the hardware was done, or is over: it has no say in what comes next."""
    return (run.root / _SETTLED).exists()


def settle(run: RunFolder, *, over: bool = True) -> None:
    """Note in the run folder whether the wish is over, so that a mirror brings that back with the job."""
    if over:
        (run.root / _SETTLED).touch()
    else:
        (run.root / _SETTLED).unlink(missing_ok=True)


def _file(run: RunFolder) -> Path:
    return run.root / _FILE


def dollars(amount: float) -> str:
    """$0.12, or that it is less than a cent."""
    return "less than $0.01" if 0 < amount < 0.01 else f"${amount:.2f}"
