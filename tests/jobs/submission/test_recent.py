from __future__ import annotations

import pytest

from jobs.submission.recent import Recent


def test_oldest_goes_where_there_are_too_many() -> None:
    memory = Recent[str, int](2, 60)
    for key in ("a", "b", "a", "c"):  # the second "a" is newer than "b"
        memory.put(key, 1)
    assert [memory.get(key) is not None for key in "abc"] == [True, False, True]


def test_what_is_too_old_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 100.0
    monkeypatch.setattr("jobs.submission.recent.time.monotonic", lambda: moment)
    memory = Recent[str, int](9, 60)
    memory.put("a", 1)
    moment = 130.0
    memory.put("b", 2)
    assert memory.get("a") == (30.0, 1)
    moment = 161.0
    assert memory.get("a") is None
    assert memory.get("b") == (31.0, 2)
    assert len(memory._kept) == 1
