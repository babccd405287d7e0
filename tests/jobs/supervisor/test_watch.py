"""How a trainer that has nothing to do waits, with a clock that the test moves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from jobs.record.state import StopWish
from jobs.supervisor import training
from jobs.supervisor.training import Watch


class Clock(SimpleNamespace):
    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(training, "time", clock)
    return clock


def test_pause_asks_the_database_about_once_a_second(clock: Clock) -> None:
    asked: list[float] = []

    def wish() -> StopWish:
        asked.append(clock.now_s)
        return StopWish.none

    Watch(wish, lambda: False, lambda _text: None).pause(60.0, StopWish.none)
    assert clock.now_s == pytest.approx(1060, abs=1)
    assert 30 < len(asked) < 65


def test_pause_ends_for_a_wish_and_for_a_supervisor_that_leaves(clock: Clock) -> None:
    changed = Watch(lambda: StopWish.cancel if clock.now_s > 1010 else StopWish.none, lambda: False, print)
    changed.pause(60.0, StopWish.none)
    assert clock.now_s == pytest.approx(1011, abs=1)
    changed.pause(60.0, StopWish.none)
    assert clock.now_s == pytest.approx(1011, abs=1)
    Watch(lambda: StopWish.none, lambda: clock.now_s > 1020, print).pause(60.0, StopWish.none)
    assert clock.now_s == pytest.approx(1020, abs=1)
