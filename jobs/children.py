"""The processes that app.py keeps alive.

A supervisor for each device, unless only other machines train; the generator and the publisher; a mirror where one is
set, on a Space a treasurer, and who follows Jobs at Hugging Face where they can be had or were.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from trainer.child_environment import environment_for_visitors, environment_for_weights, process_environment
from trainer.machine.devices import Device, only
from trainer.machine.process import GRACE_S, Child, spawn
from trainer.settings import Settings

log = logging.getLogger(__name__)
_SLOWEST_RESTART_S = 60.0
_LAST_COPY_S = 10.0


@dataclass
class _Kept:
    """A child that is started again when it ends, more slowly each time that it ends at once."""

    name: str
    arguments: list[str]
    child: Child | None = None
    started: float = 0.0
    delay_s: float = field(default=0.0)
    inherits: Callable[[Settings], dict[str, str]] = environment_for_visitors
    """What it has of the page's environment, where secrets are."""
    told: dict[str, str] = field(default_factory=dict[str, str])
    """What it is told besides."""


class Children:
    """Context manager: starts the children, and on leaving ends them all within the grace period."""

    def __init__(self, settings: Settings, devices: list[Device], *, any_remote: bool = False) -> None:
        """`any_remote`: jobs are at Hugging Face, and must be followed even if none can be sent there any more."""
        self._settings = settings
        self._kept = [_Kept(d.key, _worker(d)) for d in devices if settings.train_here]
        self._kept.append(_generator(devices[0]))
        self._kept.append(_Kept("publisher", ["jobs", "publisher", "--watch-parent"]))
        self._mirror = _Kept("mirror", ["jobs", "mirror", "--watch-parent"])
        if settings.mirror_dir is not None:
            self._kept.append(self._mirror)
        if settings.on_space:
            self._kept.append(_treasurer())
        if settings.can_run_jobs or any_remote:
            self._kept.append(_Kept("remote", ["jobs", "remote", "--watch-parent"]))

    def __enter__(self) -> Children:
        self.revive()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        running = [kept.child for kept in self._kept if kept.child is not None and kept is not self._mirror]
        for child in running:
            child.ask_to_end()
        deadline = time.monotonic() + GRACE_S + 5
        for child in running:
            if child.wait(max(0.1, deadline - time.monotonic())) is None:
                child.kill()
        if self._mirror.child is not None:  # the last: it copies what the others left
            self._mirror.child.end(_LAST_COPY_S)

    def revive(self) -> None:
        """Start what does not run and is due."""
        for kept in self._kept:
            since = time.monotonic() - kept.started
            if (kept.child is not None and kept.child.exit_code is None) or since < kept.delay_s:
                continue
            if kept.child is not None:
                log.warning("%s ended with code %s and is started again", kept.name, kept.child.exit_code)
            if kept.started:
                kept.delay_s = (
                    1.0 if since > _SLOWEST_RESTART_S else min(_SLOWEST_RESTART_S, max(1.0, 2 * kept.delay_s))
                )
            kept.started = time.monotonic()
            try:
                kept.child = self._start(kept)
            except OSError as error:  # no memory for another process, or no place for its log: perhaps soon
                log.warning("%s cannot be started: %s", kept.name, error)
                kept.delay_s = max(1.0, kept.delay_s)

    def _start(self, kept: _Kept) -> Child:
        logs = self._settings.home / "logs"
        environment = kept.inherits(self._settings) | kept.told
        return spawn(kept.arguments, environment=environment, log=logs / f"{kept.name}.log")


def _worker(device: Device) -> list[str]:
    which = [] if device.index is None else ["--gpu", str(device.index)]
    return ["jobs", "worker", "--watch-parent", *which]


def _generator(device: Device) -> _Kept:
    """It opens weights that anybody may have sent."""
    arguments = ["inference.generator", "--watch-parent"]
    return _Kept("generator", arguments, inherits=environment_for_weights, told=only(device))


def _treasurer() -> _Kept:
    """It works with a Space's own secret."""
    return _Kept("treasurer", ["jobs", "treasurer", "--watch-parent"], inherits=lambda _: process_environment())
