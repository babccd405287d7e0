"""Inside a Job at Hugging Face: fetch the run, train it by the usual child, send whatever comes of it as whole files.

What the page shows is sent while it trains, and each checkpoint, so that a Job that is torn off loses little. The last
file is the result: where it is, everything is.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from jobs.hub import back_off
from jobs.hub.client import open_hub
from jobs.remote.bucket import CHECKPOINTS, EVENTS, KEEP, LOG, PHOTOS, RESULT, Result, RunBucket
from jobs.remote.hub_job import Assignment
from jobs.remote.pace import Pace
from trainer.child_environment import process_environment
from trainer.errors import EXIT_DONE, EXIT_STOPPED, HubError, HubTrouble, RequestError
from trainer.machine.process import KEEP_SIGNAL, Child, StopSignal, spawn
from trainer.run_folder import RunFolder
from trainer.settings import Settings

log = logging.getLogger(__name__)
_POLL_S = 2.0
_CHECKPOINT_SHARE = 10
"""Sending checkpoints takes at most one part in this many of the time."""
_WAITS_S = (2, 5, 15, 30, 60, 120, 240)


def run_here(settings: Settings) -> int:
    """Carry out the assignment in the environment; returns 0 where the result is in the bucket, whatever it is."""
    try:
        assignment = Assignment.model_validate_json(settings.remote or "")
    except ValidationError:
        raise RequestError("This command is for a Job at Hugging Face; the app starts it there by itself.") from None
    token = settings.machine_token
    if token is None:
        raise HubError("The Job came without a token.", HubTrouble.sign_in)
    stop = StopSignal()
    stop.install()
    run = RunFolder(settings.runs_dir / assignment.job)
    run.root.mkdir(parents=True, exist_ok=True)
    limit_s = assignment.stop_after_s if assignment.stop_after_s is not None else math.inf
    return _RunCopy(RunBucket(open_hub(token), assignment.bucket), run, stop, limit_s).work()


class _RunCopy:
    """The Job's copy of the run, and what of it the bucket has. It trains for `limit_s` from now on at most."""

    def __init__(self, bucket: RunBucket, run: RunFolder, stop: StopSignal, limit_s: float = math.inf) -> None:
        self._bucket, self._run, self._stop = bucket, run, stop
        self._sent: dict[str, tuple[int, int]] = {}
        self._checkpoint = ""
        self._next_checkpoint = 0.0
        self._told_to_keep, self._pace = False, Pace()
        self._limit, self._at_limit = time.monotonic() + limit_s, False

    def work(self) -> int:
        _patiently(self._fetch)
        child = spawn(
            ["trainer", "resume", str(self._run.root), "--watch-parent"],
            environment=process_environment(),
            log=self._run.log_file,
        )
        try:
            exit_code = self._accompany(child)
        except HubError:
            child.kill()  # what it learns from here on could not be brought home, but would be paid for
            raise
        _patiently(lambda: self._hand_in(exit_code))
        return EXIT_DONE

    def _fetch(self) -> None:
        present = self._bucket.files()
        self._bucket.fetch((file for name, file in present.items() if name not in (KEEP, RESULT)), self._run)

    def _accompany(self, child: Child) -> int:
        """Until the child ends: send what is new, pass wishes on. Raises HubError where there is no use in going on."""
        self._pace.quicken()
        next_exchange = 0.0
        while (code := child.wait(_POLL_S)) is None:
            if self._stop.requested():
                return child.end()
            if time.monotonic() >= self._limit and self._can_be_told(child):  # whether or not the Hub can be reached
                self._at_limit = True
                self._tell_to_keep(child)
            if time.monotonic() < next_exchange:
                continue
            wait_s = self._pace.wait_s()
            try:
                self._pass_on(child)
                self._send_checkpoint()  # before the events that speak of it
                self._send_shown()
            except HubError as error:
                if error.trouble is not HubTrouble.later:
                    raise
                log.warning("%s Trying again.", error)
                wait_s = max(wait_s, error.retry_after_s or 0.0)
            except FileNotFoundError as error:
                log.info("%s was replaced by a newer one while it was sent", error.filename)
            next_exchange = time.monotonic() + wait_s
        return code

    def _pass_on(self, child: Child) -> None:
        if self._can_be_told(child) and self._bucket.has(KEEP):
            self._tell_to_keep(child)

    def _can_be_told(self, child: Child) -> bool:
        """Whether to stop and keep what was learnt is news for the child, and it is far enough to take the signal."""
        holder = self._run.holder()
        return not self._told_to_keep and holder is not None and holder.pid == child.pid

    def _tell_to_keep(self, child: Child) -> None:
        self._told_to_keep = True
        child.signal(KEEP_SIGNAL)

    def _send_shown(self) -> None:
        """What the page shows; events last, because they speak of previews."""
        self._send([self._run.relative(file) for file in sorted(self._run.previews.glob("*.png"))])
        self._send([LOG, EVENTS])

    def _send_checkpoint(self, *, last: bool = False) -> None:
        """The newest checkpoint, unless sending the one before took long; those before it are removed."""
        folders = sorted(self._run.checkpoints.glob("step-*/checkpoint.json"))
        newest = self._run.relative(folders[-1].parent) if folders else ""
        if newest == self._checkpoint or (time.monotonic() < self._next_checkpoint and not last):
            return
        began = time.monotonic()
        names = [self._run.relative(file) for file in sorted((self._run.root / newest).iterdir())]
        record = f"{newest}/checkpoint.json"
        self._send([name for name in names if name != record])
        self._send([record])  # its presence says that the rest is there
        self._bucket.remove(
            name for name in self._bucket.files() if name.startswith(CHECKPOINTS) and not name.startswith(f"{newest}/")
        )
        self._checkpoint = newest
        self._next_checkpoint = time.monotonic() + _CHECKPOINT_SHARE * (time.monotonic() - began)

    def _hand_in(self, exit_code: int) -> None:
        """Send all that is left, take the photos away, and then send the result."""
        self._send_shown()
        if exit_code != EXIT_DONE:
            self._send_checkpoint(last=True)
        if exit_code in (EXIT_DONE, EXIT_STOPPED):
            artifact = sorted(file for file in self._run.artifact.rglob("*") if file.is_file())
            self._send([self._run.relative(file) for file in artifact])
        self._bucket.remove(name for name in self._bucket.files() if name.startswith(PHOTOS))
        result = Result(exit_code=exit_code, at_limit=self._at_limit)
        self._bucket.put([(result.model_dump_json().encode(), RESULT)])

    def _send(self, names: list[str]) -> None:
        """Send those files that have changed since they were sent. One that is gone by now is passed over."""
        changed = {name: state for name in names if (state := _state(self._run.root / name)) != self._sent.get(name)}
        present = {name: state for name, state in changed.items() if state is not None}
        self._bucket.put((self._content(name), name) for name in present)
        self._sent.update(present)

    def _content(self, name: str) -> Path | bytes:
        """A file that grows is sent as it is now; others by their path."""
        path = self._run.root / name
        return path.read_bytes() if name in (EVENTS, LOG) else path


def _patiently(action: Callable[[], None]) -> None:
    """Do it, again after a while where the Hub is away. Raises HubError where it stays away or refuses."""
    for tries in range(len(_WAITS_S)):
        try:
            return action()
        except HubError as error:
            if error.trouble is not HubTrouble.later:
                raise
            wait_s = back_off.wait_s(_WAITS_S, tries, error)
            log.warning("%s Trying again in %d s.", error, wait_s)
            time.sleep(wait_s)
    return action()


def _state(path: Path) -> tuple[int, int] | None:
    """Differs where the content does; None where there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns
