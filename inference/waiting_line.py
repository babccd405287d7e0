"""Who is drawn for next: owners take turns, so that one who asks for much does not keep the others waiting."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class WaitingLine(Generic[T]):
    """Requests of many owners for one worker. Any thread may call it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[Hashable, T]] = []  # as they came
        self._in_work: T | None = None
        self._last_turn: dict[Hashable, int] = {}
        self._turns = 0

    @property
    def in_work(self) -> T | None:
        """What was taken and is not done."""
        return self._in_work

    def ahead(self, owner: Hashable) -> int:
        """How many are served before what this owner asks next."""
        with self._changed:
            order = _in_turn([*(of for of, _ in self._waiting), owner], self._last_turn)
            return order.index(len(self._waiting)) + (self._in_work is not None)

    def join(self, owner: Hashable, item: T) -> None:
        """Let it wait for its turn."""
        with self._changed:
            self._waiting.append((owner, item))
            self._changed.notify()

    def put_back(self, owner: Hashable, item: T) -> None:
        """Let what was taken wait again: it had no turn, so it is the next."""
        with self._changed:
            self._waiting.insert(0, (owner, item))
            self._last_turn.pop(owner, None)
            self._changed.notify()

    def leave(self, item: T) -> None:
        """Take out what waits for nobody any more; nothing where it was taken meanwhile."""
        with self._changed:
            self._waiting = [entry for entry in self._waiting if entry[1] is not item]

    def next(self, timeout_s: float) -> T | None:
        """Take whoever's turn it is; None if nobody came in time. It counts as in work until `done`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, timeout_s):
                return None
            owner, item = self._waiting.pop(self._order()[0])
            self._turns += 1
            self._last_turn[owner] = self._turns
            self._in_work = item
            return item

    def done(self) -> None:
        """What was taken is finished."""
        with self._changed:
            self._in_work = None
            if not self._waiting:
                self._last_turn.clear()  # nobody is left whom it could be unfair to

    def waiting(self) -> list[T]:
        """All that wait, in the order in which they will be served if nobody else comes."""
        with self._changed:
            return [self._waiting[place][1] for place in self._order()]

    def _order(self) -> list[int]:
        return _in_turn([owner for owner, _ in self._waiting], self._last_turn)


def _in_turn(owners: list[Hashable], last_turn: Mapping[Hashable, int]) -> list[int]:
    """Places in a line of these owners in the order in which they are served: everybody's first request, then
    everybody's second, and so on, beginning with those whose last turn is longest ago.
    """
    earlier: Counter[Hashable] = Counter()
    rounds: list[tuple[int, int, int]] = []
    for place, owner in enumerate(owners):
        rounds.append((earlier[owner], last_turn.get(owner, 0), place))
        earlier[owner] += 1
    return [place for _, _, place in sorted(rounds)]
