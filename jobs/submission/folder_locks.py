"""Locks for folders, between the threads of one process."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Generator
from pathlib import Path


class FolderLocks:
    """A lock for each folder that somebody works on or waits for, and for no other."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[Path, threading.RLock] = {}
        self._wanted = Counter[Path]()

    @contextlib.contextmanager
    def held(self, folder: Path) -> Generator[None]:
        """While entered, nobody else works on the folder; whoever does already may enter again."""
        with self._guard:
            self._wanted[folder] += 1
            lock = self._locks.setdefault(folder, threading.RLock())
        try:
            with lock:
                yield
        finally:
            with self._guard:
                self._wanted[folder] -= 1
                if not self._wanted[folder]:
                    del self._wanted[folder], self._locks[folder]
