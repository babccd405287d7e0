"""The device lease: training and the generator take turns on a GPU.

Two lock files a device. Whoever computes holds `lease`; training announces itself by holding `wanted` first, and the
generator, which keeps models in memory between prompts, gives both memory and lease up when it sees that.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from trainer.machine.devices import Device

_POLL_S = 0.2


class DeviceLease:
    """The lease of one device. A CPU needs none: there, processes share the cores (see `trainer.machine.cores`)."""

    def __init__(self, runtime: Path, device: Device) -> None:
        self._needed = device.index is not None
        self._lease = runtime / f"{device.key}.lease"
        self._wanted = runtime / f"{device.key}.wanted"

    @contextmanager
    def for_training(self, give_up: Callable[[], bool] = lambda: False) -> Generator[bool]:
        """Wait for the device and hold it; yields False where `give_up()` became true first."""
        if not self._needed:
            yield True
            return
        self._lease.parent.mkdir(parents=True, exist_ok=True)
        with self._wanted.open("a") as wanted, self._lease.open("a") as lease:
            fcntl.flock(wanted, fcntl.LOCK_EX)
            held = _try_lock(lease)
            while not held and not give_up():
                time.sleep(_POLL_S)
                held = _try_lock(lease)
            yield held

    @contextmanager
    def for_generating(self) -> Generator[bool]:
        """Hold the device while models are in its memory; yields False where training has or wants it."""
        if not self._needed:
            yield True
            return
        self._lease.parent.mkdir(parents=True, exist_ok=True)
        with self._lease.open("a") as lease:
            yield not self.training_wants_it() and _try_lock(lease)

    def training_wants_it(self) -> bool:
        """Whether a training process holds or waits for the device."""
        if not self._needed or not self._wanted.exists():
            return False
        with self._wanted.open("a") as wanted:
            return not _try_lock(wanted)


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
