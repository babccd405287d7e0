"""Locks for folders: one at a time, and none is left."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from jobs.submission.folder_locks import FolderLocks


def test_lock_that_somebody_waits_for_is_not_replaced() -> None:
    locks, folder = FolderLocks(), Path("draft")
    entered, most = 0, 0

    def work() -> None:
        nonlocal entered, most
        for _ in range(50):
            with locks.held(folder), locks.held(folder):
                entered += 1
                most = max(most, entered)
                time.sleep(0.0001)
                entered -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert not locks._locks
