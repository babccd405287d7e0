"""Drawings that go on whoever looks: each belongs to who asked for it, and not to the page that was open then."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from inference.protocol import Answer, Made, Refused, Waiting, Working
from inference.request import PictureRequest
from trainer.errors import RequestError

_MOST_UNDER_WAY, _MOST_KEPT = 200, 1000
"""Of all owners: requests that wait or are worked on, each of which takes a thread; and ends that can be told."""

_LOOK_S = 1.0
"""How often who waits looks, so that nothing is given up as unseen."""


@dataclass(frozen=True)
class Limits:
    """What one owner may ask for."""

    under_way: int = _MOST_UNDER_WAY
    unseen_s: float = math.inf
    """For how long is worked on what nobody looks at."""
    work: float = math.inf
    """Of all that is asked for at once, in pixels times steps."""


ON_A_SHARED_GPU = Limits(under_way=3)
ON_A_SHARED_CPU = Limits(under_way=3, unseen_s=1800.0, work=4 * 50 * 512 * 512)
"""The work is four pictures of Stable Diffusion 1.5 in fifty steps: most of an hour on a few cores."""

Join = Callable[[Path, Sequence[Path]], Path]
"""Makes one picture of several files, in a folder; returns its file."""


class End(StrEnum):
    """How a drawing ended."""

    made = "made"
    refused = "refused"
    stopped = "stopped"
    unseen = "unseen"
    """Given up, because nobody looked."""
    failed = "failed"


@dataclass(frozen=True)
class Stand:
    """How far a drawing is: what was said of it last, and what was made until then."""

    count: int
    """How many requests it consists of."""
    number: int = 0
    """Which of them `answer` is about, from 0 on."""
    answer: Waiting | Working | None = None
    files: tuple[Path, ...] = ()
    """In the order of the requests; the picture that they were joined into comes first."""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    """How long was worked on what is made."""
    end: End | None = None
    reason: str = ""
    """Why it was refused."""
    error: Exception | None = None
    """What it failed with."""


class Generates(Protocol):
    """Whoever answers requests, as `GeneratorClient` does."""

    def generate(
        self, request: PictureRequest, folder: Path, token: str | None = None, *, leaving: Callable[[], bool]
    ) -> Iterator[Answer]: ...


class Drawing:
    """Requests of one owner, answered one after another by a thread; any number of pages may look at it."""

    def __init__(
        self, requests: Sequence[PictureRequest], folder: Path, join: Join | None, *, unseen_s: float = math.inf
    ) -> None:
        """`join` makes one picture of all. What is worked on for `unseen_s` while nobody looks is given up."""
        self.key = uuid4().hex
        self.was_told = False
        """Whether somebody was told of its end."""
        self._requests, self._folder, self._join, self._unseen_s = requests, folder, join, unseen_s
        self._stand = Stand(count=len(requests))
        self._stopped, self._over = threading.Event(), threading.Event()
        self._lock = threading.RLock()
        self._working_since: float | None = None
        self._unseen_work_s = 0.0

    @property
    def is_over(self) -> bool:
        return self._stand.end is not None

    def look(self) -> Stand:
        """How far it is; who looks wants it."""
        self._unseen_work_s = 0.0
        return self._stand

    def wait(self) -> Stand:
        """Look until it is over."""
        while (stand := self.look()).end is None:
            self._over.wait(_LOOK_S)
        return stand

    def stop(self) -> None:
        """Give up what is not made yet."""
        self._stopped.set()

    def move_to(self, folder: Path) -> None:
        """Make everything else in another folder; what is made already is moved there by whoever calls."""
        with self._lock:
            self._folder = folder
            self._put(files=tuple(folder / file.name for file in self._stand.files))

    def draw(self, generator: Generates, token: str | None) -> None:
        """See it through, in the thread that is its own."""
        try:
            self._draw(generator, token)
        except Exception as error:  # noqa: BLE001 - told to whoever looks
            self._put(end=End.failed, error=error)
        finally:
            self._over.set()

    def _draw(self, generator: Generates, token: str | None) -> None:
        made = 0
        for number, request in enumerate(self._requests):
            if self._is_given_up():
                break
            for answer in generator.generate(request, self._folder, token, leaving=self._is_given_up):
                self._note_work(answer)
                match answer:
                    case Made():
                        self._take(answer)
                        made += 1
                    case Refused():
                        self._put(end=End.refused, reason=answer.text)
                        return
                    case _:
                        self._put(number=number, answer=answer)
            if made == number:  # it was left in the middle
                break
        if made < len(self._requests):
            self._put(end=End.stopped if self._stopped.is_set() else End.unseen)
        else:
            self._finish()

    def _finish(self) -> None:
        if self._join is not None:
            joined = self._join(self._folder, self._stand.files)
            with self._lock:
                self._put(files=(self._brought_along(joined), *self._stand.files))
        self._put(end=End.made)

    def _take(self, made: Made) -> None:
        with self._lock:
            files = (*self._stand.files, *(self._brought_along(file) for file in made.files))
            notes = tuple(dict.fromkeys((*self._stand.notes, *made.notes)))
            self._put(files=files, notes=notes, seconds=self._stand.seconds + made.seconds)

    def _brought_along(self, file: Path) -> Path:
        """A file that was asked for before everything was moved to another folder, in that folder."""
        target = self._folder / file.name
        if target != file:
            self._folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # whoever moves the others was quicker
                file.replace(target)
        return target

    def _note_work(self, answer: Answer) -> None:
        """Count for how long was worked while nobody looked; waiting costs nothing."""
        now = time.monotonic()
        if self._working_since is not None:
            self._unseen_work_s += now - self._working_since
        self._working_since = now if isinstance(answer, Working) else None

    def _is_given_up(self) -> bool:
        return self._stopped.is_set() or self._unseen_work_s > self._unseen_s

    def _put(self, **news: object) -> None:
        with self._lock:
            self._stand = replace(self._stand, **news)  # type: ignore[arg-type]


class Drawings:
    """Those of everybody, in the page's process."""

    def __init__(self, generator: Generates, limits: Limits | None = None) -> None:
        self._generator, self._limits = generator, limits or Limits()
        self._lock = threading.Lock()
        self._known: list[tuple[str, Drawing]] = []

    def begin(
        self,
        owner: str,
        requests: Sequence[PictureRequest],
        folder: Path,
        *,
        token: str | None = None,
        join: Join | None = None,
    ) -> Drawing:
        """Ask for pictures, to be put into `folder`. Raises RequestError for too many or too much work."""
        most = self._limits
        if sum(request.work for request in requests) > most.work:
            raise RequestError(
                "This is too much for a machine without a GPU that many share. "
                "Ask for fewer pictures, fewer steps or a smaller size."
            )
        drawing = Drawing(requests, folder, join, unseen_s=most.unseen_s)
        thread = threading.Thread(target=drawing.draw, args=(self._generator, token), name="drawing", daemon=True)
        with self._lock:
            under_way = [of for of, known in self._known if not known.is_over]
            if under_way.count(owner) >= most.under_way:
                raise RequestError(f"{most.under_way} of your requests are under way. Wait for one, or stop them.")
            if len(under_way) >= _MOST_UNDER_WAY:
                raise RequestError("Too many people wait for pictures at the moment. Please try again in a while.")
            thread.start()
            over = [entry for entry in self._known if entry[1].is_over]
            forgotten = {known.key for _, known in over[: max(0, len(over) - _MOST_KEPT)]}
            self._known = [entry for entry in self._known if entry[1].key not in forgotten] + [(owner, drawing)]
        return drawing

    def to_show(self, owner: str, key: str = "") -> Drawing | None:
        """What a page should show that shows the drawing `key`, until it has shown its end.

        Then the newest that is under way, or else the newest of whose end nobody has been told; None for nothing.
        """
        theirs = self._of(owner)
        under_way = next((drawing for drawing in theirs if not drawing.is_over), None)
        shown = next((drawing for drawing in theirs if drawing.key == key), None)
        if shown is not None and shown.is_over:
            return shown
        return under_way or next((drawing for drawing in theirs if not drawing.was_told), None)

    def newest(self, owner: str) -> Drawing | None:
        """What the owner asked for last, whoever was told of it."""
        return next(iter(self._of(owner)), None)

    def is_under_way(self, owner: str) -> bool:
        """Whether there is anything to stop."""
        return any(not drawing.is_over for drawing in self._of(owner))

    def stop(self, owner: str) -> None:
        """Stop all that the owner has under way."""
        for drawing in self._of(owner):
            drawing.stop()

    def adopt(self, old: str, new: str, folder: Path) -> None:
        """Give an owner's drawings to another, who keeps pictures in `folder`; the caller moves those that are made."""
        for drawing in self._of(old):
            drawing.move_to(folder)
        with self._lock:
            self._known = [(new if of == old else of, drawing) for of, drawing in self._known]

    def _of(self, owner: str) -> list[Drawing]:
        """The newest first."""
        with self._lock:
            return [drawing for of, drawing in reversed(self._known) if of == owner]
