"""What a Job asks of the Hub while it trains, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.remote import container, pace
from jobs.remote.container import _RunCopy
from trainer.errors import HubError, HubTrouble
from trainer.machine.process import StopSignal
from trainer.run_folder import RunFolder


class Clock(SimpleNamespace):
    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


class Training:
    """A child that trains for so long, and writes an event and a line of its log all the while."""

    pid = 1234

    def __init__(self, run: RunFolder, clock: Clock, seconds: float) -> None:
        self._run, self._clock, self._end = run, clock, clock.now_s + seconds

    def wait(self, timeout_s: float) -> int | None:
        self._clock.now_s += timeout_s
        for file in (self._run.events_file, self._run.log_file):
            with file.open("a") as out:
                out.write("more\n")
        return None if self._clock.now_s < self._end else 0


class Bucket:
    """Counts what is sent; raises `trouble` once where there is one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.sent: list[float] = []
        self.trouble: HubError | None = None

    def put(self, files: Iterator[tuple[Path | bytes, str]]) -> None:
        if not list(files):
            return
        self.sent.append(self._clock.now_s)
        if (trouble := self.trouble) is not None:
            self.trouble = None
            raise trouble


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (container, pace):
        monkeypatch.setattr(module, "time", clock)
    return clock


def accompany(clock: Clock, bucket: Bucket, run: RunFolder, seconds: float) -> list[float]:
    """When something was sent, in seconds from the start."""
    began = clock.now_s
    child: Any = Training(run, clock, seconds)
    counting: Any = bucket
    assert _RunCopy(counting, run, StopSignal())._accompany(child) == 0
    return [moment - began for moment in bucket.sent]


def test_after_a_quick_minute_one_request_in_ten_seconds_shows_how_far_it_is(clock: Clock, tmp_path: Path) -> None:
    sent = accompany(clock, Bucket(clock), RunFolder(tmp_path), 361)
    assert len([moment for moment in sent if moment <= 60]) >= 25
    assert len([moment for moment in sent if moment > 60]) <= 31


def test_hub_that_asks_for_patience_gets_it(clock: Clock, tmp_path: Path) -> None:
    bucket = Bucket(clock)
    bucket.trouble = HubError("The Hub asks to wait.", HubTrouble.later, retry_after_s=290)
    first, second, *_ = accompany(clock, bucket, RunFolder(tmp_path), 400)
    assert second - first >= 290
