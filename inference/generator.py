"""The generator: a process of its own for pictures. If it dies, the page stays.

Loading what makes pictures takes a processor several seconds. So it is loaded when somebody asks, or a minute after the
start at the latest: the page and the first training come first.
"""

from __future__ import annotations

import logging
import select
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from inference.protocol import generator_socket
from trainer.errors import EXIT_DONE, BusyError
from trainer.machine.local_socket import listening
from trainer.machine.locks import hold_lock
from trainer.machine.process import StopSignal, leave, stop_when_parent_dies
from trainer.settings import Settings

_POLL_S = 0.3
_LOAD_AFTER_S = 60.0

log = logging.getLogger(__name__)


def _wait_for_a_client(server: socket.socket, stop: StopSignal) -> None:
    """Until somebody asks, the minute is over or a stop is requested; whoever connects is kept waiting."""
    deadline = time.monotonic() + _LOAD_AFTER_S
    while not stop.requested() and time.monotonic() < deadline:
        if select.select([server], [], [], _POLL_S)[0]:
            return


def _take_place(lock: Path, stop: StopSignal, held: ExitStack) -> bool:
    """Wait for the generator of a page that was killed: it would take our socket away when it ends.

    `held` keeps the place. False where a stop came first: then the socket is still the other one's.
    """
    said = False
    while not stop.requested():
        try:
            held.enter_context(hold_lock(lock, what="Making pictures"))
        except BusyError as error:
            if not said:
                log.info("waiting: %s", error)
            said = True
            time.sleep(_POLL_S)
        else:
            return True
    return False


def main() -> None:
    """Serve the data root of the environment; `--watch-parent` ends with the parent process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if "--watch-parent" in sys.argv:
        stop_when_parent_dies()
    settings, stop = Settings(), StopSignal()
    stop.install()
    settings.runtime_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        if not _take_place(settings.runtime_dir / "generator.lock", stop, held):
            return
        server = held.enter_context(listening(generator_socket(settings.runtime_dir)))
        log.info("the generator listens")
        _wait_for_a_client(server, stop)
        if not stop.requested():
            from inference.picture_server import PictureServer  # noqa: PLC0415 - see above

            PictureServer(settings, stop).serve(server)


if __name__ == "__main__":
    main()
    leave(EXIT_DONE)
