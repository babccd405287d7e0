"""A generator without a process, whose answers a test gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from inference.protocol import Answer, Made, Working
from inference.request import PictureRequest


class Scripted:
    """A generator that says `working` at once and the rest when `go` is set; as the real one, it can be left."""

    def __init__(self, *last: Answer) -> None:
        self.answers = list(last)
        self.go = threading.Event()
        self.left = 0

    def generate(
        self, request: PictureRequest, folder: Path, token: str | None = None, *, leaving: Callable[[], bool]
    ) -> Iterator[Answer]:
        yield Working(done=1, total=request.steps)
        while not self.go.wait(0.01):
            if leaving():
                self.left += 1
                return
        yield self.answers.pop(0) if self.answers else made(folder)


def made(folder: Path, name: str = "1.png", notes: Sequence[str] = ()) -> Made:
    return Made(files=[folder / name], notes=list(notes), seconds=1.0)
