"""Drawings that go on whoever looks: each belongs to who asked for it, and not to the page that was open then."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from inference.protocol import Answer, Made, Refused, Waiting, Working
from inference.request import PictureRequest
from trainer.errors import RequestError

log = logging.getLogger(__name__)
_LOOK_S = 0.1
_MOST_OF_ONE, _MOST = 3, 200


class End(StrEnum):
    """How a drawing ended."""

    made = "made"
    refused = "refused"
    stopped = "stopped"


@dataclass(frozen=True)
class Stand:
    """How far a drawing is: what was said of it last, and what was made until then."""

    count: int
    """How many requests it consists of."""
    number: int = 0
    """Which of them `answer` is about, from 0 on."""
    answer: Waiting | Working | None = None
    files: tuple[Path, ...] = ()
    """In the order of the requests; the grid that they were joined into comes first."""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    """How long it took from when it was asked for, known at the end."""
    end: End | None = None
    reason: str = ""
    """Why it was refused."""


class Generates(Protocol):
    """Whoever answers requests, as `GeneratorClient` does."""

    def generate(
        self, request: PictureRequest, folder: Path, token: str | None = None, *, leaving: Callable[[], bool]
    ) -> Iterator[Answer]: ...


class Drawing:
    """Requests of one owner, answered one after another by a thread; any number of pages may follow it."""

    def __init__(
        self, requests: Sequence[PictureRequest], join: Callable[[Sequence[Path]], Path] | None, unseen_s: float
    ) -> None:
        """`join` makes one picture of all, and returns its file. Who draws for nobody for `unseen_s` gives up."""
        self._requests, self._join, self._unseen_s = requests, join, unseen_s
        self.stand = Stand(count=len(requests))
        self.end_was_seen = False
        self._error: Exception | None = None
        self._stopped = threading.Event()
        self._seen, self._began_to_work = time.monotonic(), math.inf

    def stop(self) -> None:
        """Give up what is not made yet."""
        self._stopped.set()

    async def follow(self) -> AsyncIterator[Stand]:
        """How far it is now, and again whenever that changes, until it has ended. Raises what it failed with."""
        told = None
        while told is None or told.end is None:
            self._seen = time.monotonic()
            stand = self.stand
            if stand is told:
                if self._error is not None:
                    self.end_was_seen = True
                    raise self._error
                await asyncio.sleep(_LOOK_S)
                continue
            told = stand
            self.end_was_seen = stand.end is not None
            yield stand

    @property
    def is_over(self) -> bool:
        return self.stand.end is not None or self._error is not None

    def draw(self, generator: Generates, folder: Path, token: str | None) -> None:
        """See it through, in the thread that is its own."""
        try:
            self._draw(generator, folder, token)
        except Exception as error:
            log.warning("a drawing failed", exc_info=error)
            self._error = error

    def _draw(self, generator: Generates, folder: Path, token: str | None) -> None:
        began = time.monotonic()
        for number, request in enumerate(self._requests):
            for answer in generator.generate(request, folder, token, leaving=self._is_given_up):
                match answer:
                    case Made():
                        files, notes = (*self.stand.files, *answer.files), (*self.stand.notes, *answer.notes)
                        self._put(files=files, notes=tuple(dict.fromkeys(notes)))
                    case Refused():
                        self._put(end=End.refused, reason=answer.text)
                        return
                    case _:
                        self._note_work(answer)
                        self._put(number=number, answer=answer)
            if self._is_given_up():
                self._put(end=End.stopped)
                return
        files = self.stand.files if self._join is None else (self._join(self.stand.files), *self.stand.files)
        self._put(files=files, seconds=time.monotonic() - began, end=End.made)

    def _note_work(self, answer: Waiting | Working) -> None:
        if isinstance(answer, Waiting):
            self._began_to_work = math.inf
        elif self._began_to_work == math.inf:
            self._began_to_work = time.monotonic()

    def _is_given_up(self) -> bool:
        """Whether it was stopped, or is worked on though nobody has looked for too long; who waits costs nothing."""
        if time.monotonic() - max(self._seen, self._began_to_work) > self._unseen_s:
            self._stopped.set()  # for good: who looks now must not find a part of it missing
        return self._stopped.is_set()

    def _put(self, **news: object) -> None:
        self.stand = replace(self.stand, **news)  # type: ignore[arg-type]


class Drawings:
    """Those of everybody, in the page's process."""

    def __init__(self, generator: Generates, *, unseen_s: float = math.inf) -> None:
        """A drawing on which is worked though nobody has looked at it for `unseen_s` is given up."""
        self._generator, self._unseen_s = generator, unseen_s
        self._lock = threading.Lock()
        self._known: list[tuple[str, Drawing]] = []

    def begin(
        self,
        owner: str,
        requests: Sequence[PictureRequest],
        folder: Path,
        *,
        token: str | None = None,
        join: Callable[[Sequence[Path]], Path] | None = None,
    ) -> Drawing:
        """Ask for pictures, to be put into `folder`. Raises RequestError where too many are under way."""
        drawing = Drawing(requests, join, self._unseen_s)
        with self._lock:
            under_way = [(of, known) for of, known in self._known if not known.is_over]
            if sum(of == owner for of, _ in under_way) >= _MOST_OF_ONE:
                raise RequestError(f"{_MOST_OF_ONE} of your requests are under way. Wait for one, or stop them.")
            if len(under_way) >= _MOST:
                raise RequestError("Too many people wait for pictures at the moment. Please try again in a while.")
            unheard = [(of, known) for of, known in self._known if known.is_over and not known.end_was_seen]
            self._known = [*unheard[-_MOST:], *under_way, (owner, drawing)]
        threading.Thread(
            target=drawing.draw, args=(self._generator, folder, token), name="drawing", daemon=True
        ).start()
        return drawing

    def of(self, owner: str) -> Drawing | None:
        """The owner's newest that is under way, or of whose end nobody has heard."""
        with self._lock:
            theirs = [drawing for of, drawing in self._known if of == owner]
        return next((drawing for drawing in reversed(theirs) if not drawing.end_was_seen), None)

    def stop(self, owner: str) -> None:
        """Stop all that the owner has under way."""
        with self._lock:
            theirs = [drawing for of, drawing in self._known if of == owner]
        for drawing in theirs:
            drawing.stop()

    def adopt(self, old: str, new: str) -> None:
        """Give an owner's drawings to another; what they still make lands where it was asked for."""
        with self._lock:
            self._known = [(new if of == old else of, drawing) for of, drawing in self._known]
