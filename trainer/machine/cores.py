"""How processes that compute on the CPU share its cores.

Two processes that each use every core slow each other down many times over (OpenMP threads wait for one another). So
each says that it computes, by holding a lock file, and takes its share of the cores.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from trainer.machine.locks import is_held

_LOOK_EVERY_S = 0.5


class CoreShare:
    """This process's share. `threads` is cheap to call at every step: it looks at the others twice a second at most."""

    def __init__(self, folder: Path, cores: int) -> None:
        self._folder, self._cores = folder, cores
        self._own: Path | None = None
        self._looked, self._threads = 0.0, cores

    @contextmanager
    def computing(self) -> Generator[None]:
        """Count as one of those that compute while the block runs."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{os.getpid()}-{time.monotonic_ns()}"  # never used before, for the reason below
        aside, own = (self._folder / f"{name}.{state}" for state in ("beginning", "computing"))
        with aside.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            aside.replace(own)  # held already: a neighbour removes what nobody holds
            self._own, self._looked = own, 0.0
            try:
                yield
            finally:
                self._own = None
                own.unlink(missing_ok=True)

    def threads(self) -> int:
        """How many threads this process should use now: its fair part of the cores, at least one."""
        if time.monotonic() - self._looked > _LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._threads = max(1, self._cores // (1 + self._others()))
        return self._threads

    def _others(self) -> int:
        return sum(_computes(file) for file in self._folder.glob("*.computing") if file != self._own)


def _computes(file: Path) -> bool:
    """Whether the process of a file still lives; one that a kill left behind is removed."""
    with contextlib.suppress(OSError):
        if is_held(file):
            return True
        file.unlink()
    return False
