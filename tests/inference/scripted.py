"""A generator without a process, whose answers a test gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from inference.protocol import Answer, Made, Waiting, Working
from inference.request import PictureRequest

_SOON_S = 0.01
MANY = 99


class Scripted:
    """Says `meanwhile` again and again, until it may answer a request, or is left as the real one can be."""

    def __init__(self, meanwhile: Waiting | Working | None = None) -> None:
        self.meanwhile = meanwhile or Working(done=1, total=2)
        self.answers: list[Answer] = []
        """What comes instead of pictures, request by request."""
        self.left = self.asked = self.said = 0
        self._may_answer = threading.Semaphore(0)

    def answer(self, requests: int = 1) -> None:
        """Let it answer so many."""
        self._may_answer.release(requests)

    def generate(
        self, request: PictureRequest, folder: Path, token: str | None = None, *, leaving: Callable[[], bool]
    ) -> Iterator[Answer]:
        self.asked += 1
        number = self.asked
        yield self._still()
        while not self._may_answer.acquire(timeout=_SOON_S):
            if leaving():
                self.left += 1
                return
            yield self._still()
        yield self.answers.pop(0) if self.answers else made(folder, f"{number}.png")

    def _still(self) -> Waiting | Working:
        self.said += 1
        return self.meanwhile


def made(folder: Path, name: str, *notes: str) -> Made:
    """A picture in its folder, which took a second."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"a picture")
    return Made(files=[folder / name], notes=list(notes), seconds=1.0)
