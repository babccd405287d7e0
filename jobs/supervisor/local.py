"""Training on a device of this machine: a child process that a supervisor starts, tells of wishes, and waits for."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from jobs.hub.tokens import TokenVault
from jobs.queueing.queue import Queue
from jobs.record.state import StopWish
from jobs.record.store import Job
from jobs.runs.speed import Speeds
from jobs.supervisor.gpu_watch import GpuWatch
from jobs.supervisor.training import POLL_S, Watch
from trainer.bases import find_base
from trainer.child_environment import environment_for_visitors, environment_for_weights
from trainer.disk_need import check_disk
from trainer.errors import EXIT_DONE, EXIT_STOPPED, BusyError, RequestError
from trainer.imports.task import has_task
from trainer.machine.devices import Device, only
from trainer.machine.lease import DeviceLease
from trainer.machine.process import GRACE_S, KEEP_SIGNAL, Child, spawn
from trainer.run_folder import RunFolder
from trainer.settings import Settings

log = logging.getLogger(__name__)
EXPORT_WITHIN_S = 900.0
"""Without a line in events or log after being told to stop and keep; one that hangs would cost without end."""
AT_ONCE_S = 1.0
"""For a child that writes aside and has nothing to keep, but may be deep inside a computation."""
_AGAIN_S = 5.0
"""After a kill: a process that waits for a disk ends later."""


class LocalTrainer:
    """Trains one job at a time on one device; see `training.Trainer`."""

    queue = Queue.training
    at_once = 1

    def __init__(self, settings: Settings, device: Device, vault: TokenVault) -> None:
        """`vault` holds tokens of those whose concepts and bases are to be fetched from the Hub."""
        self.key, self.label = device.key, device.label
        self._settings, self._vault = settings, vault
        self._device = device
        self._speeds = Speeds(settings.speeds_file)
        self._lease = DeviceLease(settings.runtime_dir, device)
        self._gpu = GpuWatch(settings.runtime_dir, device, environment_for_visitors(settings))
        self._child: Child | None = None

    def check_device(self) -> None:
        """Look whether PyTorch can use the device, so that it is known before the first job is."""
        self._gpu.check()

    def can_train(self) -> bool:
        return self._gpu.check()

    def lease(self, give_up: Callable[[], bool]) -> AbstractContextManager[bool]:
        return self._lease.for_training(give_up)

    def speeds(self, _run: RunFolder) -> Speeds:
        return self._speeds

    def is_under_way(self, _run: RunFolder) -> bool:
        return False  # a child never outlives its supervisor

    def train(self, job: Job, run: RunFolder, watch: Watch) -> int:
        if not _wait_for_predecessor(run, watch):
            return EXIT_STOPPED
        if not has_task(run) and not run.checkpoint_steps:  # other jobs may have filled it since this one was queued
            check_disk(run.read_recipe(), run.root)
        environment = environment_for_weights(self._settings) | only(self._device)
        arguments = ["trainer", "resume", str(run.root), "--watch-parent"]
        token = self._vault.of(job.owner) if _may_fetch(run) else None
        if token is not None:
            arguments.append("--token-from-parent")
        self._child = child = spawn(arguments, environment=environment, log=run.log_file, secret=token)
        try:
            code = _follow(child, run, watch)
        except BaseException:
            child.end(GRACE_S)  # or it would train on, unwatched
            raise
        finally:
            self._child = None
        if code != EXIT_DONE:
            _tidy(run)
            self._gpu.doubt()
        return code

    def leave(self) -> None:
        """End the child within the grace period; it keeps a checkpoint."""
        if (child := self._child) is not None:
            child.end(GRACE_S)


def _follow(child: Child, run: RunFolder, watch: Watch) -> int:
    """Pass wishes on until the child ends; returns its exit code."""
    if watch.leaving():  # it came while the child started, when there was nothing to pass it on to
        child.end()
    passed_on, silence = StopWish.none, _Silence(run)
    while (code := child.wait(POLL_S)) is None:
        wish = watch.wish()
        if passed_on is StopWish.keep and silence.lasts_s() > EXPORT_WITHIN_S:
            log.warning("pid %d was told to stop and shows no sign of life; its checkpoints are kept", child.pid)
            child.end(GRACE_S)
            return EXIT_STOPPED
        if wish is not passed_on:
            passed_on = wish
            if wish is StopWish.cancel:
                child.end(_grace_s(run, child))
            elif wish is StopWish.keep:
                child.signal(KEEP_SIGNAL)
                silence = _Silence(run)
    return code


class _Silence:
    """For how long a run has said nothing, by a clock that stands still while the machine sleeps, as the run does."""

    def __init__(self, run: RunFolder) -> None:
        self._files = (run.events_file, run.log_file)
        self._said, self._since = self._look(), time.monotonic()

    def lasts_s(self) -> float:
        if (said := self._look()) != self._said:
            self._said, self._since = said, time.monotonic()
        return time.monotonic() - self._since

    def _look(self) -> list[tuple[float, int]]:
        found = [file.stat() for file in self._files if file.exists()]
        return [(entry.st_mtime, entry.st_size) for entry in found]


def _may_fetch(run: RunFolder) -> bool:
    """Whether the child may have to ask the Hub for what only its owner can read."""
    try:
        return has_task(run) or find_base(run.read_recipe().base).on_hub
    except RequestError:
        return False  # a base that went, or a recipe that is not understood: the child says which


def _wait_for_predecessor(run: RunFolder, watch: Watch) -> bool:
    """Wait until nobody else has the run; False where it is given up, because of a wish or a stop.

    A child of a supervisor that was killed may still be writing its checkpoint: it is ended when its time is over. One
    of another machine, which lost its connection or sleeps, ends by itself or gives up its lock: its pid is not one of
    this machine, and what has it here must live.
    """
    patience_ends = time.monotonic() + GRACE_S
    while run.is_held():
        if watch.leaving() or watch.wish() is StopWish.cancel:
            return False
        holder = run.holder()
        if holder is not None and not holder.is_here:
            watch.note("Another machine still has its files; it goes on when that one lets go of them.")
        elif holder is not None and time.monotonic() > patience_ends:
            log.warning("killing pid %d, which still holds %s", holder.pid, run.root)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(holder.pid, signal.SIGKILL)
            patience_ends = time.monotonic() + _AGAIN_S
        time.sleep(POLL_S)
    watch.note("")
    return True


def _grace_s(run: RunFolder, child: Child) -> float:
    """How long a child that is to end may take.

    None at all where it does not hold its run: it has nothing to keep yet; or it had, this machine slept and another
    has the run by now, and every further word in its files would be wrong.
    """
    holder = run.holder()
    if holder is None or holder.pid != child.pid or not holder.is_here:
        return 0.0
    return AT_ONCE_S if has_task(run) else GRACE_S


def _tidy(run: RunFolder) -> None:
    """Remove what a child that has ended was writing aside, unless another machine has the run by now."""
    if run.root.is_dir():
        with contextlib.suppress(BusyError), run.locked():
            pass
