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
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from inference.protocol import generator_socket
from trainer.errors import BusyError
from trainer.local_socket import listening
from trainer.process import StopSignal, stop_when_parent_dies
from trainer.run_folder import hold_lock
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


@contextmanager
def _alone(lock: Path, stop: StopSignal) -> Generator[bool]:
    """Wait for the generator of a page that was killed: it would take our socket away when it ends.

    Gives False where a stop came first: then the socket is still the other one's.
    """
    said = False
    with ExitStack() as held:
        while not stop.requested():
            try:
                held.enter_context(hold_lock(lock, what="Making pictures"))
            except BusyError as error:
                if not said:
                    log.info("waiting: %s", error)
                said = True
                time.sleep(_POLL_S)
            else:
                yield True
                return
        yield False


def main() -> None:
    """Serve the data root of the environment; `--watch-parent` ends with the parent process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if "--watch-parent" in sys.argv:
        stop_when_parent_dies()
    settings, stop = Settings(), StopSignal()
    stop.install()
    settings.runtime_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as entered:
        if not entered.enter_context(_alone(settings.runtime_dir / "generator.lock", stop)):
            return
        server = entered.enter_context(listening(generator_socket(settings.runtime_dir)))
        log.info("the generator listens")
        _wait_for_a_client(server, stop)
        if not stop.requested():
            from inference.picture_server import PictureServer  # noqa: PLC0415 - see above

            PictureServer(settings, stop).serve(server)


if __name__ == "__main__":
    main()
