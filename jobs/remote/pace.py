"""How often the Hub is asked about a run: a free account has 1,000 calls in five minutes, for all that it does."""

from __future__ import annotations

import time

_QUICK_S, _USUAL_S = 2.0, 10.0
_QUICK_FOR_S = 60.0


class Pace:
    """The pace of one side: quick for a minute after something began or was wished, while somebody may be looking."""

    def __init__(self) -> None:
        self._quick_until = 0.0

    def quicken(self) -> None:
        self._quick_until = time.monotonic() + _QUICK_FOR_S

    def wait_s(self) -> float:
        """For how long not to ask."""
        return _QUICK_S if time.monotonic() < self._quick_until else _USUAL_S
