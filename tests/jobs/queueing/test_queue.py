"""The queue as the page sees it: each attempt at a job is in it once, also right after the one before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.queueing.queue import QueueClient, _attempt_of, _workflow_id


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[QueueClient]:
    queue = QueueClient(f"sqlite:///{tmp_path / 'queue.sqlite'}")
    yield queue
    queue.close()


def test_attempt_that_is_queued_already_changes_nothing_and_waits_for_nothing(
    queue: QueueClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.queueing.queue._POLL_S", -1.0)  # to wait that long is an error
    for _ in range(2):
        queue.enqueue("job", attempt=1, priority=1)
    assert queue._knows("job-1")


def test_attempt_comes_after_the_one_before_however_late_that_is_noted_as_over(queue: QueueClient) -> None:
    queue.enqueue("job", attempt=1, priority=1)
    over = threading.Timer(0.7, lambda: queue.withdraw("job", attempt=1))
    over.start()
    queue.enqueue("job", attempt=2, priority=1)
    over.join()
    assert queue._knows("job-2")


def test_attempt_is_read_off_the_name_of_its_workflow() -> None:
    assert _attempt_of(_workflow_id("0123456789abcdef", 12)) == 12
