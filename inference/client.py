"""The page's side of the generator. Light: no torch here."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from inference.protocol import ANSWERS, MAX_LINE, Answer, Ask, Made, Refused, Working, generator_socket
from inference.request import PictureRequest

_SILENCE_S = 600.0
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

    def is_there(self) -> bool:
        """Whether the generator listens."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            return connection.connect_ex(str(self._path)) == 0

    def generate(self, request: PictureRequest, folder: Path, token: str | None = None) -> Iterator[Answer]:
        """Ask, and yield answers until pictures are made or refused. Closing the iterator withdraws the request."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_SILENCE_S)
            try:
                connection.connect(str(self._path))
                connection.sendall(Ask(request=request, folder=folder, token=token).model_dump_json().encode() + b"\n")
            except OSError:
                yield Refused(text=_NOT_THERE)
                return
            with connection.makefile("rb") as lines:
                answer: Answer | None = None
                while not isinstance(answer, Made | Refused):
                    answer = _read(lines) or Refused(text=_DIED if isinstance(answer, Working) else _DIED_ON_ANOTHER)
                    yield answer


def _read(lines: IO[bytes]) -> Answer | None:
    """The next answer; None where the generator is gone."""
    try:
        return ANSWERS.validate_json(lines.readline(MAX_LINE))
    except (OSError, ValidationError):
        return None
