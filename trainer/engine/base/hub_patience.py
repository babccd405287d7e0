"""Patience with a Hub that is away: what a run needs of it is asked for again until it is back, and a stop is heard."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx2
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from trainer.engine.base.hub_download import DOWNLOAD_ERRORS, Progress, reason_of
from trainer.quantities import duration

PATIENCE_S = 30 * 60.0
"""A run waits no longer than this for the next megabyte."""
_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0
_LOOK_EVERY_S = 0.2
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Patience:
    """How a run waits: `look` is called again and again and may raise to give up; `warn` is told why nothing comes."""

    look: Callable[[], None]
    warn: Callable[[str], None]


def patiently(fetch: Callable[[Progress], _Found], progress: Progress | None, patience: Patience) -> _Found:
    """What `fetch` returns, tried again with growing pauses while the Hub is away and megabytes may still come.

    `fetch` is given what counts its megabytes. Raises one of DOWNLOAD_ERRORS: of the last try, or what no wait changes.
    """
    clock, told = _Clock(progress), False
    while True:
        try:
            return fetch(clock.count)
        except DOWNLOAD_ERRORS as error:
            if not is_away(error) or clock.in_vain_s > PATIENCE_S:
                raise
            why = reason_of(error)
        if not told:  # once is enough: a line that breaks again and again would fill the page
            told = True
            patience.warn(
                f"The Hub is away ({why}). It is asked again until it is back, for {duration(PATIENCE_S)} at most."
            )
        clock.pause(patience.look)


def is_away(error: Exception) -> bool:
    """Whether the same may work in a while: not where the Hub has refused, or this machine cannot keep what comes."""
    match error:
        case OfflineModeIsEnabled():
            return False
        case LocalEntryNotFoundError(__cause__=Exception() as cause):
            return is_away(cause)
        case HfHubHTTPError():
            return error.response.status_code in (408, 429) or error.response.status_code >= 500
        case _:
            return isinstance(error, LocalEntryNotFoundError | httpx2.HTTPError | ConnectionError | TimeoutError)


class _Clock:
    """For how long no new megabyte has come, and how long to wait before the next try."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._most = progress, 0
        self._since, self._pause_s = time.monotonic(), _PAUSE_S

    def count(self, done: int, total: int) -> None:
        if done > self._most:
            self._most, self._since, self._pause_s = done, time.monotonic(), _PAUSE_S
        if self._progress is not None:
            self._progress(done, total)

    @property
    def in_vain_s(self) -> float:
        return time.monotonic() - self._since

    def pause(self, look: Callable[[], None]) -> None:
        again = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        while time.monotonic() < again:
            look()
            time.sleep(_LOOK_EVERY_S)
