"""Trains jobs at Hugging Face, each in a Job of its owner's account, whose token it needs and keeps in memory alone.

It may be killed at any moment. What it needs to know lies in remote.json and on the Hub, so whoever comes next goes on
from there: a second Job is never asked for before the label of the first was looked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from jobs.hub import back_off
from jobs.hub.client import open_hub, redacted
from jobs.hub.tokens import TokenVault
from jobs.queueing.executors import HUGGING_FACE
from jobs.queueing.queue import Queue
from jobs.record.remote_run import MARGIN_S, RemoteRun, Stage, read_remote, read_remote_for_certain
from jobs.record.state import StopWish
from jobs.record.store import Job, now
from jobs.remote.errand import Errand
from jobs.runs.speed import Speeds, speeds_of
from jobs.supervisor.training import POLL_S, Watch
from trainer.errors import EXIT_FAILED, EXIT_STOPPED, HubError, HubTrouble
from trainer.events import Failed, Warned
from trainer.run_folder import RunFolder
from trainer.settings import Settings

log = logging.getLogger(__name__)
_WAITS_S = (5, 15, 60, 300)
"""Before the next try when the Hub is away, by how many there were; the last one for all further tries."""
_FILES_AWAY_S = 10.0
_WISH_POLL_S = 3.0
"""How often the database is asked for a new wish of an owner who is away."""

_RESUME = "Press Resume as soon as you are signed in."


class RemoteTrainer:
    """See `supervisor.training.Trainer`. Each job has a thread: what keeps one waiting hinders no other."""

    queue = Queue.remote
    key = HUGGING_FACE
    label = "Training at Hugging Face"
    at_once = 48
    """Most only wait: one whose owner is away keeps its place for a day or so. DBOS has 64 threads."""

    def __init__(self, settings: Settings, vault: TokenVault, image: str | None) -> None:
        self._settings, self._vault, self._image = settings, vault, image

    def can_train(self) -> bool:
        return True

    def lease(self, _give_up: Callable[[], bool], /) -> AbstractContextManager[None]:
        return nullcontext()

    def speeds(self, run: RunFolder, /) -> Speeds:
        record = read_remote(run)
        assert record is not None  # it was trained by this trainer
        return speeds_of(self._settings.shared_dir, record.flavor)

    def is_under_way(self, run: RunFolder, /) -> bool:
        record = read_remote_for_certain(run)
        return record is not None and record.has_begun

    def leave(self) -> None:
        """Nothing is ended: the Jobs go on by themselves."""

    def train(self, job: Job, run: RunFolder, watch: Watch, /) -> int | None:
        trouble: HubError | None = None
        tries, lost_token, since = 0, False, now()
        while (record := _known(run, watch)) is not None:
            if record.stage is Stage.over:
                return record.exit_code
            token, began = self._vault.of(job.owner), time.monotonic()
            awaited_until = max(record.awaited_until(job.queued), since + MARGIN_S)
            try:
                if trouble is not None and trouble.trouble is not HubTrouble.later and now() > awaited_until:
                    return _give_up(job, run, record, watch.wish(), str(trouble))
                if trouble is not None:
                    _wait(trouble, tries, watch)
                    trouble = None
                    continue
                if not record.has_begun and watch.wish() is not StopWish.none:  # nothing was learnt that could be kept
                    return EXIT_STOPPED
                if watch.leaving():
                    return None
                if token is None:
                    if now() > awaited_until:
                        return _give_up(job, run, record, watch.wish(), "Nobody signed in for it.")
                    watch.note(_needs_token(watch.wish(), under_way=record.is_under_way))
                    self._await_token(job.owner, watch)
                    continue
                errand = Errand(open_hub(token), token, self._image, job.id, run, record)
                return errand.carry_out(watch, lost_token=lost_token)
            except HubError as error:
                if error.trouble is HubTrouble.sign_in and token and self._vault.forget(job.owner, token):
                    lost_token = lost_token or (read_remote(run) or record).is_under_way
                    continue
                trouble = error
            except Exception as error:  # whatever it is, a Job that is being paid for must not be left alone
                log.exception("job %s", job.id)
                trouble = HubError(f"Something unexpected happened: {redacted(str(error))}", HubTrouble.later)
                time.sleep(POLL_S)  # if it was the database, nobody can be told, and waiting would be over at once
            tries = tries + 1 if time.monotonic() - began < _WAITS_S[-1] else 1
        run.events(Failed(cause="It is not known where this job should train.", advice="Train it again."))
        return EXIT_FAILED

    def _await_token(self, owner: str, watch: Watch) -> None:
        """Wait for it, for so long as nothing else need be asked."""
        deadline = time.monotonic() + _WISH_POLL_S
        while time.monotonic() < deadline and not watch.leaving() and self._vault.of(owner) is None:
            time.sleep(POLL_S)


def _known(run: RunFolder, watch: Watch) -> RemoteRun | None:
    """What is known of the run. Waits while its files cannot be read: its Job may run all the same, and costs."""
    while True:
        try:
            return read_remote_for_certain(run)
        except OSError as error:
            log.warning("%s cannot be read: %s", run.root, error)
            watch.note("Its files cannot be read at the moment. Nothing is lost; it goes on once they can.")
            time.sleep(_FILES_AWAY_S)


def _give_up(job: Job, run: RunFolder, record: RemoteRun, wish: StopWish, why: str) -> int:
    """End a job whose owner stays away or may do nothing. What there may be at Hugging Face a Resume finds again."""
    bucket = record.bucket(job.id)
    if wish is StopWish.cancel or (wish is StopWish.keep and not record.is_under_way):
        run.events(Warned(text=f"Its bucket {bucket} could not be deleted without you: delete it at Hugging Face."))
        return EXIT_STOPPED
    if not record.has_begun:
        failed = Failed(cause=f"It was not sent within a day. {why}", advice=_RESUME)
    elif not record.is_under_way:
        cause = f"It was not sent within a day. {why} Photos may lie in the bucket {bucket}."
        failed = Failed(cause=cause, advice=_RESUME)
    else:
        cause = f"Its Job at Hugging Face is over by now. {why} What it left is in the bucket {bucket}."
        failed = Failed(cause=cause, advice="Sign in and press Resume, which fetches it.")
    run.events(failed)
    return EXIT_FAILED


def _needs_token(wish: StopWish, *, under_way: bool) -> str:
    if not under_way and wish is not StopWish.none:
        return "Sign in again, so that its photos can be taken back from Hugging Face."
    if not under_way:
        return "Sign in again, so that it can be sent to Hugging Face."
    if wish is StopWish.cancel:
        return "Sign in again, so that the Job at Hugging Face can be cancelled; its time limit ends it at the latest."
    return "Sign in again. Training goes on at Hugging Face, and is shown here as soon as you have."


def _wait(error: HubError, tries: int, watch: Watch) -> None:
    """Say when the next try is, and wait for it; a new wish or a supervisor that leaves is not kept waiting."""
    wait_s = back_off.wait_s(_WAITS_S, tries - 1, error)
    watch.note(back_off.told(error, wait_s))
    watch.pause(wait_s, watch.wish())
