"""Holds models and serves one request after another over a Unix socket: what the generator process does.

It never holds a GPU while training wants it, and shares the cores with training on a CPU.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from dataclasses import dataclass, field

from pydantic import BaseModel, ValidationError

from inference.engine import Engine
from inference.failures import explain_picture
from inference.metadata import save_picture, settings_of
from inference.protocol import MAX_LINE, Ask, Made, Refused, Waiting, Working
from inference.waiting_line import WaitingLine
from trainer.engine.device import own_cores, use_share
from trainer.errors import StudioError
from trainer.machine.cores import CoreShare
from trainer.machine.devices import find_devices
from trainer.machine.lease import DeviceLease
from trainer.machine.local_socket import connections
from trainer.machine.process import StopSignal
from trainer.settings import Settings

log = logging.getLogger(__name__)
_POLL_S = 0.3
_TELL_EVERY_S = 1.0
_REMIND_EVERY_S = 30.0


class _ClientLeft(Exception):
    """Nobody waits for the pictures any more."""


class _TrainingFirst(Exception):
    """Training wants the device, and nothing was made on it yet."""


@dataclass
class _Visit:
    """One client's connection and what it asks."""

    connection: socket.socket
    ask: Ask
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)
    _progress: Working | None = None

    def tell(self, answer: BaseModel) -> None:
        """Send one line. Raises _ClientLeft if the client is gone."""
        with self._one_at_a_time:
            self._progress = answer if isinstance(answer, Working) else None
            _send(self.connection, answer)

    def repeat_progress(self) -> None:
        """Say again how far it is."""
        with self._one_at_a_time:
            if self._progress is not None:
                _send(self.connection, self._progress)


def _send(connection: socket.socket, answer: BaseModel) -> None:
    try:
        connection.sendall(answer.model_dump_json().encode() + b"\n")
    except OSError as error:
        raise _ClientLeft from error


class PictureServer:
    """Accepts connections in one thread and makes pictures in another, one request at a time."""

    def __init__(self, settings: Settings, stop: StopSignal) -> None:
        self._engine = Engine(settings.cache_dir)
        self._line: WaitingLine[_Visit] = WaitingLine()
        self._stop = stop
        self._lease = DeviceLease(settings.runtime_dir, find_devices(settings.visible_gpus)[0])
        self._cores = CoreShare(settings.runtime_dir / "cores", own_cores())

    def serve(self, server: socket.socket) -> None:
        """Serve until a stop is requested."""
        threading.Thread(target=self._accept, args=(server,), name="accept", daemon=True).start()
        threading.Thread(target=self._keep_reminding, name="remind", daemon=True).start()
        while not self._stop.requested():
            with self._lease.for_generating() as held:
                self._work_while_free(held=held)

    def _accept(self, server: socket.socket) -> None:
        for connection in connections(server):
            threading.Thread(target=self._receive, args=(connection,), name="receive", daemon=True).start()

    def _receive(self, connection: socket.socket) -> None:
        """Read one request and queue it; anything else is refused in words."""
        connection.settimeout(10)
        try:
            with connection.makefile("rb") as lines:
                ask = Ask.model_validate_json(lines.readline(MAX_LINE))
        except (OSError, ValidationError) as error:
            log.info("refused a request: %s", error)
            with contextlib.suppress(_ClientLeft):
                _send(connection, Refused(text="This request was not understood."))
            connection.close()
            return
        visit = _Visit(connection, ask)
        with contextlib.suppress(_ClientLeft):
            if ahead := self._line.ahead(ask.folder):
                visit.tell(Waiting(ahead=ahead))
        self._line.join(ask.folder, visit)

    def _work_while_free(self, *, held: bool) -> None:
        """Serve requests for as long as the device is ours; else tell those who wait, and look again."""
        while not self._stop.requested():
            if not held or self._lease.training_wants_it():
                self._engine.unload()
                self._tell_those_who_wait(for_training=True)
                time.sleep(_TELL_EVERY_S)
                return
            if (visit := self._line.next(_POLL_S)) is not None:
                self._answer(visit)

    def _answer(self, visit: _Visit) -> None:
        """Answer one request. It counts as done before its client hears so: whoever asks next does not wait for it."""
        self._tell_those_who_wait()
        try:
            last = self._make(visit)
        except _TrainingFirst:
            self._line.put_back(visit.ask.folder, visit)
            return
        except _ClientLeft:
            last = None
        finally:
            self._line.done()
        with visit.connection, contextlib.suppress(_ClientLeft):
            if last is None:
                log.info("a client left before its pictures were made")
            else:
                visit.tell(last)

    def _make(self, visit: _Visit) -> Made | Refused:
        """Make one request's pictures; every failure becomes a sentence, never the end of the process."""
        began = time.monotonic()
        try:
            visit.tell(Working(done=0, total=1))
            with self._cores.computing():
                use_share(self._cores)
                result = self._engine.generate(
                    visit.ask.request,
                    lambda done, total: self._step(visit, done, total),
                    lambda done, total: self._downloaded(visit, done, total),
                    token=visit.ask.token,
                )
            files = []
            for seed, picture in zip(visit.ask.request.seeds, result.pictures, strict=True):
                file = visit.ask.folder / f"{time.time_ns()}-{seed}.png"
                save_picture(picture, file, settings_of(visit.ask.request, seed, result.concepts))
                files.append(file)
            return Made(files=files, notes=result.notes, seconds=round(time.monotonic() - began, 1))
        except (_ClientLeft, _TrainingFirst):
            raise
        except StudioError as error:
            return Refused(text=str(error))
        except Exception as error:
            log.warning("a request failed", exc_info=error)
            self._engine.unload()  # whatever half-happened to the models is forgotten with them
            return Refused(text=str(explain_picture(error)))

    def _step(self, visit: _Visit, done: int, total: int) -> None:
        use_share(self._cores)
        visit.tell(Working(done=done, total=total))

    def _downloaded(self, visit: _Visit, done: int, total: int) -> None:
        visit.tell(Working(done=done, total=total, unit="MB"))
        if self._lease.training_wants_it():  # the download goes on meanwhile
            raise _TrainingFirst

    def _keep_reminding(self) -> None:
        while True:
            time.sleep(_REMIND_EVERY_S)
            self._remind()

    def _remind(self) -> None:
        """Tell clients that they are not forgotten: a long silence would look like the end of this process.

        A step of a large model on a CPU can take longer than they would wait.
        """
        if (visit := self._line.in_work) is not None:
            with contextlib.suppress(_ClientLeft):  # found out by whoever works on it
                visit.repeat_progress()
            self._tell_those_who_wait()

    def _tell_those_who_wait(self, *, for_training: bool = False) -> None:
        for place, waiting in enumerate(self._line.waiting(), start=1):
            try:
                waiting.tell(Waiting(ahead=0 if for_training else place, for_training=for_training))
            except _ClientLeft:  # else it would count among those before others, and keep its connection
                self._line.leave(waiting)
                waiting.connection.close()
