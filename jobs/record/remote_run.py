"""remote.json in the run folder: that a run trains at Hugging Face, on what, at what price, and how far that is."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from trainer.run_folder import RunFolder
from trainer.whole_files import read_model, read_model_for_certain, write_model

_FILE = "remote.json"
_RESERVE_S, _RESERVE_SHARE = 600, 0.2
"""What of its limit a Job keeps for exporting what it has learnt and sending that: so long, and no larger part."""

_AWAY_S = 24 * 3600.0
MARGIN_S = 3600.0
"""After a Job must have ended: time to come and sign in."""


class Stage(StrEnum):
    """How far one start at Hugging Face is."""

    new = "new"
    sending = "sending"
    """From before its bucket is made: from then on there may be one, with photos in it."""
    sent = "sent"
    """From before the Job is asked for: from then on there may be one, whatever became of the answer."""
    over = "over"
    """It has ended, its files are here and its bucket is gone."""


class RemoteRun(BaseModel):
    """The file's content. Prices in US dollars, times in seconds since the epoch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    flavor: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    """The Hub's name of the machine."""
    machine: str
    """The same in words."""
    usd_per_hour: float
    limit_s: int
    """The Job is ended after this long, whatever happens."""
    namespace: str
    """The account that pays."""
    start: int = 1
    """Counts the starts of this run; names the Job on the Hub together with the run."""
    stage: Stage = Stage.new
    hub_job: str = ""
    began: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    """How the training ended. From then on all that is wanted of it is here, and its bucket is to be deleted."""
    damaged: int = 0
    """How often its result came home and was not whole."""
    at_limit: bool = False
    """It was stopped because its limit was near, and what it had learnt is kept."""
    earlier_s: float = 0.0
    """How long earlier starts ran."""
    earlier_usd: float = 0.0
    """What they cost, each at its own price."""
    rest_s: int | None = None
    """What is left of the limit for a start that nobody asked for; None where its owner pressed a button."""

    @property
    def timeout_s(self) -> int:
        """The Hub ends the Job after this long."""
        return self.limit_s if self.rest_s is None else self.rest_s

    def bucket(self, job_id: str) -> str:
        """The bucket that the run of this job travels in."""
        return f"{self.namespace}/concept-studio-{job_id}"

    def left_behind(self, job_id: str) -> str:
        """What its owner should know once nobody here deals with it any more."""
        return f"Its bucket {self.bucket(job_id)} at Hugging Face may still hold its photos and what it learnt."

    @property
    def is_under_way(self) -> bool:
        """Whether a Job of this start may run."""
        return self.stage in (Stage.sent, Stage.over)

    @property
    def has_begun(self) -> bool:
        """Whether anything of this start may be on the Hub: a Job, or a bucket with photos."""
        return self.stage is not Stage.new

    @property
    def may_cost(self) -> bool:
        """Whether a Job or a bucket of this start may be there still."""
        return self.has_begun and self.stage is not Stage.over

    def awaited_until(self, queued: float) -> float:
        """Until when somebody is waited for who may deal with what is at Hugging Face, of a job queued at that moment.

        For a day where no Job was asked for, else until it must have ended.
        """
        if not self.is_under_way:
            return queued + _AWAY_S
        return (self.began or queued + _AWAY_S) + self.timeout_s + MARGIN_S

    def ran_s(self, now: float) -> float:
        """How long its machines have run until now: never longer than their limit, whoever knows of their end."""
        return self.earlier_s + self._counted_s(now)

    def reached_its_limit(self, now: float) -> bool:
        return self._of_this_start_s(now) >= self.timeout_s

    def _counted_s(self, now: float) -> float:
        return min(self._of_this_start_s(now), self.timeout_s)

    def _of_this_start_s(self, now: float) -> float:
        return max(0.0, (self.ended or now) - self.began) if self.began else 0.0

    def cost_usd(self, now: float) -> float:
        """What its machines have cost until now."""
        return self.earlier_usd + self.usd_per_hour * self._counted_s(now) / 3600

    @property
    def most_usd(self) -> float:
        """What one start costs if it needs all of the limit."""
        return self.usd_per_hour * self.limit_s / 3600

    def again(self, *, asked: bool) -> RemoteRun:
        """The record of the next start; one that its owner did not ask for runs within the limit of this one."""
        end = self.ended or 0.0
        rest_s = None if asked else int(self.timeout_s - self._counted_s(end))
        fresh = {"start": self.start + 1, "stage": Stage.new, "hub_job": "", "exit_code": None, "damaged": 0}
        fresh |= {"earlier_s": self.ran_s(end), "earlier_usd": self.cost_usd(end), "rest_s": rest_s}
        return self.model_copy(update={**fresh, "began": None, "ended": None, "at_limit": False})


def stops_after_s(timeout_s: int) -> int:
    """When a Job that the Hub ends after `timeout_s` stops by itself, with what it has learnt."""
    return timeout_s - int(min(_RESERVE_S, timeout_s * _RESERVE_SHARE))


def read_remote(run: RunFolder) -> RemoteRun | None:
    """None for a run that trains on this machine, or whose files cannot be read now."""
    return read_model(run.root / _FILE, RemoteRun)


def read_remote_for_certain(run: RunFolder) -> RemoteRun | None:
    """None for a run that trains on this machine, or whose record is damaged for good.

    Raises OSError where its files cannot be read now, as while the folder with the runs is away: a Job may run, and
    cost.
    """
    try:
        record = read_model_for_certain(run.root / _FILE, RemoteRun)
    except ValueError:
        return None
    if record is None and not run.root.parent.is_dir():
        raise FileNotFoundError(f"{run.root.parent} is away")
    return record


def write_remote(run: RunFolder, record: RemoteRun) -> None:
    write_model(run.root / _FILE, record)


def forget_remote(run: RunFolder) -> None:
    """From now on the run trains on this machine."""
    (run.root / _FILE).unlink(missing_ok=True)
