"""When to try again what the Hub did not do."""

from __future__ import annotations

from trainer.errors import HubError


def wait_s(waits_s: tuple[float, ...], tries: int, error: HubError) -> float:
    """How long to wait after so many earlier tries: the last wait for all further ones, or as the Hub asks."""
    return max(error.retry_after_s or 0.0, waits_s[min(tries, len(waits_s) - 1)])


def told(error: HubError, seconds: float) -> str:
    """What went wrong and when it is tried again, for people."""
    return f"{error} The next try is in {about(seconds)}. Nothing is lost."


def about(seconds: float) -> str:
    """For how long, in words; not until when: a reader's clock need not be this machine's, nor their day."""
    if seconds < 60:
        return f"about {seconds:.0f} seconds"
    minutes = round(seconds / 60)
    if minutes >= 120:
        return f"about {round(minutes / 60)} hours"
    return f"about {minutes} minute{'' if minutes == 1 else 's'}"
