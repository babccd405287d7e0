"""Waits for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 600.0
"""How long to wait for what certainly comes: a busy machine may take ten times as long, and who passes never waits."""


def wait_until(condition: Callable[[], object], what: str = "it happens", seconds: float = PATIENCE_S) -> None:
    """Return as soon as `condition()` holds; fails the test when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)
