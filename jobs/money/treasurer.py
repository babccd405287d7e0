"""The treasurer: a process that watches what a Space costs. Killed, it takes up at its next start where it was.

Counting and the limit of a job never wait for the Hub, so the Space's hardware is looked after by a thread of its own.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from jobs.mirror.keeping import Keeping
from jobs.money.caretaker import Caretaker
from jobs.money.counting import Counting
from jobs.money.space import OwnSpace
from jobs.record.publications import PublicationStore
from jobs.record.store import JobStore, now, open_engine
from jobs.runs.speed import Speeds
from trainer.errors import RequestError
from trainer.machine.locks import hold_lock
from trainer.machine.process import StopSignal
from trainer.settings import Settings

log = logging.getLogger(__name__)
_COUNT_S, _LOOK_S = 1.0, 3.0


class Treasurer:
    """Serves one data root on a Space until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        if settings.space_id is None:
            raise RequestError("Only a Space has hardware to look after; this is none.")
        self._settings = settings
        engine = open_engine(settings.jobs_database_url)
        jobs = JobStore(engine)
        space = OwnSpace(settings.space_id, settings.space_token)
        stores = (jobs, PublicationStore(engine))
        speeds = Speeds(settings.speeds_file)
        kept_until = Keeping(settings).kept_until
        self._caretaker = Caretaker(settings.home, settings.runs_dir, speeds, space, stores, kept_until=kept_until)
        self._counting = Counting(jobs, settings.runs_dir, lambda: self._caretaker.state, cap_usd=settings.cost_cap)
        self._stop = StopSignal()

    def serve(self) -> None:
        """Run until a stop is requested. Raises BusyError where another treasurer serves the data root."""
        self._stop.install()
        runtime = self._settings.runtime_dir
        runtime.mkdir(parents=True, exist_ok=True)
        with hold_lock(runtime / "treasurer.lock", what="The Space's hardware"):
            rounds = (self._caretaker.round, _LOOK_S)
            threading.Thread(target=self._for_ever, args=rounds, name="hardware", daemon=True).start()
            self._for_ever(self._counting.count, _COUNT_S)
        os._exit(0)  # a call to the Hub would be waited for; the next start asks again

    def _for_ever(self, work: Callable[[float], None], pause_s: float) -> None:
        while not self._stop.requested():
            try:
                work(now())
            except Exception:  # a database or disk that is away for a moment must not end the watch over money
                log.exception("the treasurer")
            time.sleep(pause_s)
