"""When to try again what the Hub did not do."""

from __future__ import annotations

from datetime import datetime

from trainer.errors import HubError


def wait_s(waits_s: tuple[float, ...], tries: int, error: HubError) -> float:
    """How long to wait after so many earlier tries: the last wait for all further ones, or as the Hub asks."""
    return max(error.retry_after_s or 0.0, waits_s[min(tries, len(waits_s) - 1)])


def clock(moment: float) -> str:
    """A time in seconds since the epoch, as this machine's clock shows it."""
    return datetime.fromtimestamp(moment).astimezone().strftime("%H:%M")


def told(error: HubError, next_try: float) -> str:
    """What went wrong and when it is tried again, for people."""
    return f"{error} The next try is at {clock(next_try)}. Nothing is lost."
