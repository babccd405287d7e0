"""The page's side of the generator. Light: no torch here."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from inference.protocol import ANSWERS, MAX_LINE, Answer, Ask, Made, Refused, Working, generator_socket
from inference.request import PictureRequest

_SILENCE_S = 600.0
_LOOK_S = 0.3
_NOT_THERE = "The picture process is starting, or has just been restarted. Please try again in a few seconds."
_DIED = (
    "The picture process ended while it worked on this, most likely because memory ran out. It is started again by "
    "itself; try a smaller size or fewer pictures."
)
_DIED_ON_ANOTHER = "The picture process was started again while you waited. Please press Generate once more."


class GeneratorClient:
    """Asks the generator of a data root for pictures."""

    def __init__(self, runtime: Path) -> None:
        self._path = generator_socket(runtime)

    def generate(
        self,
        request: PictureRequest,
        folder: Path,
        token: str | None = None,
        *,
        leaving: Callable[[], bool] = lambda: False,
    ) -> Iterator[Answer]:
        """Ask, and yield answers until pictures are made or refused.

        Closing the iterator withdraws the request; so does `leaving`, once it says so: then no answer follows.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_SILENCE_S)
            try:
                connection.connect(str(self._path))
                connection.sendall(Ask(request=request, folder=folder, token=token).model_dump_json().encode() + b"\n")
            except OSError:
                yield Refused(text=_NOT_THERE)
                return
            answer: Answer | None = None
            for line in _lines(connection, leaving):
                try:
                    answer = ANSWERS.validate_json(line)
                except ValidationError:
                    break
                yield answer
                if isinstance(answer, Made | Refused):
                    return
            if not leaving():
                yield Refused(text=_DIED if isinstance(answer, Working) else _DIED_ON_ANOTHER)


def _lines(connection: socket.socket, leaving: Callable[[], bool]) -> Iterator[bytes]:
    """Whole lines as they come, until the other side is gone or silent for too long, or `leaving` says so."""
    begun, heard = b"", time.monotonic()
    connection.settimeout(_LOOK_S)
    while not leaving() and time.monotonic() - heard < _SILENCE_S:
        try:
            came = connection.recv(MAX_LINE)
        except TimeoutError:
            continue
        except OSError:
            return
        if not came:
            return
        heard = time.monotonic()
        *lines, begun = (begun + came).split(b"\n")
        yield from lines
