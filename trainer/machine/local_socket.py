"""Unix sockets between the processes of one data root, which only this user may open."""

from __future__ import annotations

import hashlib
import logging
import socket
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)
_LONGEST_PATH = 100


def socket_path(runtime: Path, name: str) -> Path:
    """Where the socket `name` is; in a temporary directory where the data root's path is too long for one."""
    path = runtime / f"{name}.sock"
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    elsewhere = (Path(folder) / f"concept-studio-{digest}.sock" for folder in (tempfile.gettempdir(), "/tmp"))
    return next((place for place in (path, *elsewhere) if len(str(place)) <= _LONGEST_PATH), path)


@contextmanager
def listening(path: Path) -> Generator[socket.socket]:
    """A listening socket; a socket file left by a kill is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        path.chmod(0o600)
        server.listen(64)
        try:
            yield server
        finally:
            path.unlink(missing_ok=True)


def connections(server: socket.socket) -> Iterator[socket.socket]:
    """Whoever connects, for as long as the process lives: too many open files are for a moment, too."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError as error:
            log.warning("nobody can be let in at a socket: %s", error)
            time.sleep(1)
        else:
            yield connection
