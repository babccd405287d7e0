"""Waits for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

PATIENCE_S = 600.0
"""How long to wait for what certainly comes: a busy machine may take ten times as long, and who passes never waits."""


def wait_until(
    condition: Callable[[], object], what: str = "it happens", seconds: float = PATIENCE_S, every_s: float = 0.05
) -> None:
    """Return as soon as `condition()` holds; fails the test when it does not in time.

    `every_s`: how long to leave between two looks, where a look takes much from what is looked at.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(every_s)


def has_ended(pid: int) -> bool:
    """Whether that process is gone, or only waits for its parent to take note of its end."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
