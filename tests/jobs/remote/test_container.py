"""What a Job asks of the Hub while it trains, with a clock that the test moves."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobs.remote import container, pace
from jobs.remote.bucket import KEEP, RESULT, Result
from jobs.remote.container import _RunCopy
from trainer.errors import EXIT_STOPPED, HubError, HubTrouble
from trainer.machine.process import KEEP_SIGNAL, StopSignal
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


class Stoppable(Training):
    """One that holds its run once it got ready, and stops with what it has learnt when it is told to."""

    def __init__(self, run: RunFolder, clock: Clock, *, ready_after_s: float) -> None:
        super().__init__(run, clock, 10_000)
        self._ready = clock.now_s + ready_after_s
        self.told: list[float] = []

    def wait(self, timeout_s: float) -> int | None:
        if self.told:
            return EXIT_STOPPED
        code = super().wait(timeout_s)
        if self._clock.now_s >= self._ready:
            (self._run.root / ".lock").write_text(f"{self.pid} here")
        return code

    def signal(self, number: signal.Signals) -> None:
        assert number is KEEP_SIGNAL
        self.told.append(self._clock.now_s)


class Bucket:
    """Counts what is sent; raises `trouble` once where there is one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.sent: list[float] = []
        self.names: set[str] = set()
        self.result: Path | bytes = b""
        self.trouble: HubError | None = None

    def has(self, *names: str) -> set[str]:
        return self.names & set(names)

    def files(self) -> dict[str, object]:
        return {}

    def remove(self, names: Iterator[str]) -> None:
        assert not list(names)

    def put(self, files: Iterator[tuple[Path | bytes, str]]) -> None:
        contents = {name: content for content, name in files}
        if not contents:
            return
        self.result = contents.get(RESULT, self.result)
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


def stopped(clock: Clock, bucket: Bucket, run: RunFolder, *, ready_after_s: float = 0.0) -> float:
    """When a training whose limit is 300 s is told to stop and keep, in seconds from the start; the result is sent."""
    began, training, counting = clock.now_s, Stoppable(run, clock, ready_after_s=ready_after_s), cast(Any, bucket)
    copy, child = _RunCopy(counting, run, StopSignal(), 300.0), cast(Any, training)
    copy._hand_in(copy._accompany(child))
    (told,) = training.told
    return told - began


def test_training_that_comes_near_its_limit_is_told_to_keep_what_it_learnt_and_the_result_says_why(
    clock: Clock, tmp_path: Path
) -> None:
    bucket = Bucket(clock)
    bucket.trouble = HubError("The Hub asks to wait.", HubTrouble.later, retry_after_s=3600)
    assert stopped(clock, bucket, RunFolder(tmp_path)) == pytest.approx(300, abs=3)
    assert Result.model_validate_json(cast(bytes, bucket.result)) == Result(exit_code=EXIT_STOPPED, at_limit=True)


def test_training_that_is_not_ready_at_its_limit_is_told_once_it_is(clock: Clock, tmp_path: Path) -> None:
    assert stopped(clock, Bucket(clock), RunFolder(tmp_path), ready_after_s=400) == pytest.approx(400, abs=3)


def test_stop_that_its_owner_wished_is_none_at_its_limit(clock: Clock, tmp_path: Path) -> None:
    bucket = Bucket(clock)
    bucket.names = {KEEP}
    assert stopped(clock, bucket, RunFolder(tmp_path)) < 10
    assert not Result.model_validate_json(cast(bytes, bucket.result)).at_limit
