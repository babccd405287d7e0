"""One run's dealings with the Hub under one token: send, follow, fetch, clear away. Each step may be repeated."""

from __future__ import annotations

import logging
import shutil

from huggingface_hub import BucketFile, HfApi, JobInfo, JobStage

from jobs.record.remote_run import RemoteRun, Stage, stops_after_s, write_remote
from jobs.record.state import StopWish, explain_exit
from jobs.record.store import now
from jobs.remote.bucket import ARTIFACT, KEEP, RESULT, RunBucket, run_files
from jobs.remote.homecoming import Homecoming
from jobs.remote.hub_job import OVER, Assignment, HubJobs, stage_of, with_times
from jobs.remote.pace import Pace
from jobs.supervisor.training import Watch
from trainer.errors import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, HubError, HubTrouble
from trainer.events import Failed, Warned
from trainer.quantities import duration
from trainer.run_folder import MANIFEST_FILE, RunFolder

log = logging.getLogger(__name__)
TORN_OFF = -15
_PASSING = frozenset({HubTrouble.later, HubTrouble.sign_in})
"""Troubles after which the same is tried again."""
_LISTED_LATE_S = 600
"""For so long after its end a Job's result may be missing from a listing."""
_WORTH_A_START_S = 60
_DAMAGED_TRIES = 6
"""So often a result is fetched whose hashes are wrong: for longer than a listing may be late."""
_RESUME = "Resume goes on from the newest checkpoint, in a new Job."


class Errand:
    """Carries a run through. `record` is what is known of it so far; every change is written at once."""

    def __init__(
        self, hub: HfApi, token: str, image: str | None, job_id: str, run: RunFolder, record: RemoteRun
    ) -> None:
        self.record, self._run = record, run
        self._assignment = Assignment(
            job=job_id, bucket=record.bucket(job_id), stop_after_s=stops_after_s(record.timeout_s)
        )
        self._bucket = RunBucket(hub, self._assignment.bucket)
        self._jobs = HubJobs(hub, token, image)
        self._home = Homecoming(self._bucket, run)
        self._told_to_keep, self._pace = False, Pace()
        for left_by_a_kill in run.root.glob(".fetched.*"):
            shutil.rmtree(left_by_a_kill, ignore_errors=True)

    def carry_out(self, watch: Watch, *, lost_token: bool) -> int | None:
        """See the run through, as `Trainer.train`. Raises HubError, after which another errand goes on from there.

        `lost_token`: its token ended on the way. Then so did the Job's, and what it broke off is started again.
        """
        if self.record.exit_code is not None:
            return self._clear_away(self.record.exit_code)
        try:
            info = self._look(watch.wish())
            if info is not None and not self.record.hub_job:
                self._keep(self.record.model_copy(update={"stage": Stage.sent, "hub_job": info.id}))
            if info is None and not self.record.hub_job:
                if watch.wish() is StopWish.none:
                    self._send(watch)
                if watch.wish() is not StopWish.none:  # sending takes a while, and from here on it is paid for
                    return self._close(EXIT_STOPPED)
                info = self._ask()
        except HubError as error:
            if error.trouble in _PASSING or self.record.hub_job:
                raise
            return self._give_up(error)
        return self._follow(info, watch, lost_token=lost_token)

    def _follow(self, info: JobInfo | None, watch: Watch, *, lost_token: bool) -> int | None:
        """Show how far the Job is and pass wishes on, until it is over and its files are here."""
        heard = StopWish.none
        while not watch.leaving():
            self._keep(with_times(self.record, info))
            stage, wish = stage_of(info), watch.wish()
            if wish is not heard:
                heard = wish
                self._pace.quicken()
            if wish is StopWish.cancel:
                if stage in OVER:
                    return self._abandon()
            else:
                if stage not in OVER:
                    self._pass_on(stage, wish)
                files = self._bucket.files()
                self._home.bring_shown(files)
                if stage in OVER:
                    watch.note("Fetching the result from Hugging Face.")
                    return self._conclude(stage, files, wish, lost_token=lost_token)
            watch.note(self._words(stage, wish))
            watch.pause(self._pace.wait_s(), wish)
            info = self._look(watch.wish())
        return None

    def _look(self, wish: StopWish) -> JobInfo | None:
        """The Job as it is now, for what is written here may be older than what was done.

        One that is to be cancelled is told so first: it is being paid for, and a Hub that says no more may take that.
        """
        refusal: HubError | None = None
        if wish is StopWish.cancel and self.record.hub_job:
            try:
                self._jobs.cancel(self.record.hub_job, self.record)
            except HubError as error:
                refusal = error
        info = self._jobs.find(self._assignment.job, self.record)
        if refusal is not None and stage_of(info) not in OVER:
            raise refusal
        return info

    def _give_up(self, error: HubError) -> int:
        """The Hub refuses to start it: take back what was sent, and say what can be done."""
        advice = {
            HubTrouble.credits: "Add credits there and resume, or resume it here, on this machine.",
            HubTrouble.forbidden: "Use one that may and resume, or resume it here, on this machine.",
        }
        words = advice.get(error.trouble, "Resume to try again, or resume it here, on this machine.")
        return self._close(EXIT_FAILED, Failed(cause=str(error), advice=words))

    def _send(self, watch: Watch) -> None:
        """Put the run into its bucket."""
        _ = self._jobs.image  # nothing is sent where no Job can follow
        watch.note("Sending the photos to a private bucket of your account.")
        self._pace.quicken()
        self._keep(self.record.model_copy(update={"stage": Stage.sending}))
        self._bucket.create()
        self._bucket.remove(name for name in self._bucket.files() if name in (KEEP, RESULT))
        self._bucket.put(run_files(self._run))

    def _ask(self) -> JobInfo:
        """Ask for a Job. From the moment before, its label is looked for."""
        self._keep(self.record.model_copy(update={"stage": Stage.sent}))
        info = self._jobs.start(self._assignment, self.record)
        self._keep(self.record.model_copy(update={"hub_job": info.id}))
        return info

    def _words(self, stage: JobStage, wish: StopWish) -> str:
        if wish is StopWish.cancel:
            return "Cancelling the Job at Hugging Face."
        if stage is JobStage.SCHEDULING:
            return "Waiting for a machine at Hugging Face."
        return ""

    def _pass_on(self, stage: JobStage, wish: StopWish) -> None:
        """Tell the Job that it is to stop, before anything else; where it has not begun there is nothing to keep."""
        if wish is StopWish.keep and stage is JobStage.SCHEDULING:
            self._jobs.cancel(self.record.hub_job, self.record)
        elif wish is StopWish.keep and not self._told_to_keep:
            self._bucket.put([(KEEP.encode(), KEEP)])
            self._told_to_keep = True

    def _abandon(self) -> int:
        """It is cancelled and over: bring home what can be had, for a Resume, and clear away whatever becomes of that.

        A full disk here or what its owner put into the bucket must not keep the job open.
        """
        try:
            files = self._bucket.files()
            self._home.bring_shown(files)
            self._home.bring_checkpoint(files)
        except (HubError, OSError) as error:
            log.warning("job %s is cancelled, and not all of it came home: %s", self._assignment.job, error)
        return self._close(EXIT_STOPPED)

    def _conclude(self, stage: JobStage, files: dict[str, BucketFile], wish: StopWish, *, lost_token: bool) -> int:
        """The Job is over: bring home what it left, and clear away."""
        result = self._home.read_result(files)
        code = result.exit_code if result is not None else None
        if code is None and stage is JobStage.COMPLETED and now() - (self.record.ended or 0.0) < _LISTED_LATE_S:
            raise HubError("The Job has ended, and its result is not to be seen yet.", HubTrouble.later)
        has_artifact = code == EXIT_DONE or (code == EXIT_STOPPED and ARTIFACT + MANIFEST_FILE in files)
        damage = self._bring_artifact(files) if has_artifact else None
        if code == EXIT_DONE and damage is None:
            self._home.take_base_commit()
        else:
            self._home.bring_checkpoint(files)
        if damage is not None:
            return self._leave_behind(damage)
        if result is not None and result.stopped_at_limit:
            self._keep(self.record.model_copy(update={"at_limit": True}))
        elif wish is StopWish.none and code == EXIT_STOPPED:
            return self._close(EXIT_FAILED, Failed(cause="The Job was stopped at Hugging Face.", advice=_RESUME))
        if code is not None and code >= 0:
            return self._close(code)
        if wish is not StopWish.none:
            return self._close(EXIT_STOPPED)
        if (
            lost_token
            and stage not in (JobStage.CANCELED, JobStage.DELETED)
            and (again := self.record.again(asked=False)).timeout_s > _WORTH_A_START_S
        ):
            self._delete_bucket()
            self._keep(again)
            return TORN_OFF
        return self._close(EXIT_FAILED, Failed(cause=self._what_happened(stage, code), advice=_RESUME))

    def _bring_artifact(self, files: dict[str, BucketFile]) -> str | None:
        """Bring the artifact home. Raises HubError where it is damaged, and returns how once that has stayed so."""
        if (damage := self._home.bring_artifact(files)) is None:
            return None
        self._keep(self.record.model_copy(update={"damaged": self.record.damaged + 1}))
        if self.record.damaged < _DAMAGED_TRIES:
            raise HubError(f"The result did not arrive whole. {damage}", HubTrouble.later)
        return damage

    def _leave_behind(self, damage: str) -> int:
        """The result stays damaged, and stays where it is: there may be more in it than we can tell."""
        left = f"It lies in the bucket {self._assignment.bucket} of your account; delete that when you need it no more."
        self._run.events(Failed(cause=f"The result did not arrive whole. {damage} {left}", advice=_RESUME))
        ended = self.record.ended or now()
        self._keep(self.record.model_copy(update={"exit_code": EXIT_FAILED, "ended": ended, "stage": Stage.over}))
        return EXIT_FAILED

    def _what_happened(self, stage: JobStage, code: int | None) -> str:
        if code is not None:
            return explain_exit(code)
        if self.record.reached_its_limit(now()):
            return f"The Job reached its time limit of {duration(self.record.timeout_s)}."
        match stage:
            case JobStage.DELETED:
                return "The Job was deleted at Hugging Face."
            case JobStage.CANCELED:
                return "The Job was cancelled at Hugging Face."
            case _:
                return "The Job at Hugging Face ended without a result; the log may tell more."

    def _close(self, exit_code: int, failed: Failed | None = None) -> int:
        """Write down how it ended, and delete the bucket: whoever comes after a kill in between has only that to do."""
        if failed is not None:
            self._run.events(failed)
        ended = self.record.ended or (now() if self.record.began else None)
        self._keep(self.record.model_copy(update={"exit_code": exit_code, "ended": ended}))
        return self._clear_away(exit_code)

    def _clear_away(self, exit_code: int) -> int:
        self._delete_bucket()
        self._keep(self.record.model_copy(update={"stage": Stage.over}))
        return exit_code

    def _delete_bucket(self) -> None:
        try:
            self._bucket.delete()
        except HubError as error:
            if error.trouble in _PASSING:
                raise
            self._run.events(
                Warned(text=f"Delete the bucket {self._assignment.bucket} at Hugging Face yourself. {error}")
            )

    def _keep(self, record: RemoteRun) -> None:
        if record != self.record:
            self.record = record
            write_remote(self._run, record)
