"""Answers that are kept for a while, and never more than so many: the oldest goes first."""

from __future__ import annotations

import threading
import time
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Recent(Generic[_Key, _Value]):
    """For several threads; what is older than `longest_s` is gone."""

    def __init__(self, most: int, longest_s: float) -> None:
        self._most, self._longest_s = most, longest_s
        self._kept: dict[_Key, tuple[float, _Value]] = {}  # the oldest first
        self._lock = threading.Lock()

    def put(self, key: _Key, value: _Value) -> None:
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = (time.monotonic(), value)
            self._let_go()

    def get(self, key: _Key) -> tuple[float, _Value] | None:
        """How many seconds ago it was put in, and the value; None for what is not here."""
        with self._lock:
            self._let_go()
            kept = self._kept.get(key)
        return (time.monotonic() - kept[0], kept[1]) if kept is not None else None

    def _let_go(self) -> None:
        while self._kept:
            oldest = next(iter(self._kept))
            if len(self._kept) <= self._most and time.monotonic() - self._kept[oldest][0] <= self._longest_s:
                return
            del self._kept[oldest]
