"""The Job on the Hub that belongs to a start of a run: asked for once, found again by its label, cancelled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from huggingface_hub import HfApi, JobInfo, JobStage
from pydantic import BaseModel, ConfigDict

from jobs.hub.client import hub_errors
from jobs.record.remote_run import RemoteRun
from trainer.errors import HubError, HubTrouble

LABEL = "concept-studio"
COMMAND = ["python", "-m", "jobs", "remote-run"]
OVER = frozenset({JobStage.COMPLETED, JobStage.CANCELED, JobStage.ERROR, JobStage.DELETED})
_R = TypeVar("_R")


class Assignment(BaseModel):
    """All that a Job is told, as the one value in its environment; the run itself lies in the bucket."""

    model_config = ConfigDict(frozen=True)

    job: str
    bucket: str
    stop_after_s: float | None = None
    """After so long the training is told to stop and keep what it has learnt."""


class HubJobs:
    """The Jobs of the account that pays. Every call raises HubError."""

    def __init__(self, hub: HfApi, token: str, image: str | None) -> None:
        self._hub, self._token, self._image = hub, token, image

    @property
    def image(self) -> str:
        """What a Job runs; jobs that were sent before are followed without one, too."""
        if self._image is None:
            raise HubError("Training at Hugging Face is not set up here any more.", HubTrouble.refused)
        return self._image

    def start(self, assignment: Assignment, record: RemoteRun) -> JobInfo:
        """Ask for a Job. Where the answer is lost there may be one all the same: see `find`."""
        image = self.image
        return self._of_account(
            record,
            lambda: self._hub.run_job(
                image=image,
                command=COMMAND,
                env={"STUDIO_REMOTE": assignment.model_dump_json()},
                secrets={"HF_TOKEN": self._token},
                flavor=record.flavor,
                timeout=record.timeout_s,
                name=f"concept-studio-{assignment.job}",
                labels={LABEL: label(assignment.job, record)},
                namespace=record.namespace,
            ),
        )

    def find(self, job_id: str, record: RemoteRun) -> JobInfo | None:
        """The Job of this start, whatever became of it; of two, the earlier one, and the other is cancelled."""
        if record.hub_job:
            return self.inspect(record.hub_job, record)
        labels = {LABEL: label(job_id, record)}
        found = self._of_account(record, lambda: list(self._hub.list_jobs(labels=labels, namespace=record.namespace)))
        found.sort(key=lambda job: job.created_at or datetime.max)
        for twin in found[1:]:
            if twin.status.stage not in OVER:
                self.cancel(twin.id, record)
        return found[0] if found else None

    def _of_account(self, record: RemoteRun, action: Callable[[], _R]) -> _R:
        try:
            with hub_errors(what=f"the Jobs of {record.namespace}"):
                return action()
        except HubError as error:
            if error.trouble is HubTrouble.forbidden:
                raise HubError("Your token may not run Jobs; it needs that right.", HubTrouble.forbidden) from error
            raise

    def inspect(self, hub_job: str, record: RemoteRun) -> JobInfo | None:
        """The Job as it is now; None where it was deleted."""
        try:
            with hub_errors(what="the Job"):
                return self._hub.inspect_job(job_id=hub_job, namespace=record.namespace)
        except HubError as error:
            if error.trouble is HubTrouble.missing:
                return None
            raise

    def cancel(self, hub_job: str, record: RemoteRun) -> None:
        """Ask for the end of a Job; one that is gone already is no error."""
        try:
            with hub_errors(what="the Job"):
                self._hub.cancel_job(job_id=hub_job, namespace=record.namespace)
        except HubError as error:
            if error.trouble is not HubTrouble.missing:
                raise


def label(job_id: str, record: RemoteRun) -> str:
    return f"{job_id}-{record.start}"


def stage_of(info: JobInfo | None) -> JobStage:
    """Where a Job is; a deleted one is not there any more."""
    return JobStage(info.status.stage) if info is not None else JobStage.DELETED


def with_times(record: RemoteRun, info: JobInfo | None) -> RemoteRun:
    """The record with when the Job's machine began and ended, as the Hub counts."""
    if info is None:
        return record
    times: dict[str, Any] = {"hub_job": info.id}
    if info.started_at is not None:
        times["began"] = info.started_at.timestamp()
    if info.finished_at is not None:
        times["ended"] = info.finished_at.timestamp()
    return record.model_copy(update=times)
