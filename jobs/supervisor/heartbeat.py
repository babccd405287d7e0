"""A supervisor's sign of life in the jobs database, and its watch over the others': whoever is there takes over."""

from __future__ import annotations

import logging
import platform
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager

from sqlalchemy.exc import SQLAlchemyError

from jobs.queueing.executors import executor_id
from jobs.queueing.fleet import RollCall, ServedDevice, SupervisorStore
from jobs.queueing.job_queue import open_job_queue
from jobs.record.store import open_engine
from jobs.supervisor.gpu_watch import gpu_trouble
from jobs.supervisor.training import Trainer
from trainer.machine.devices import Device
from trainer.settings import Settings

log = logging.getLogger(__name__)
BEAT_S = 10.0


@contextmanager
def heartbeat(settings: Settings, trainer: Trainer, device: Device) -> Generator[None]:
    """Write down that a device is served while the block runs and it can be used; no job can hold up the thread."""
    served = ServedDevice(
        executor=executor_id(settings.runtime_dir, trainer.key),
        queue=trainer.queue.value,
        device=device.name,
        is_gpu=device.index is not None,
        host=platform.node(),
    )
    store, ended = SupervisorStore(open_engine(settings.jobs_database_url)), threading.Event()
    threading.Thread(target=_beat, args=(settings, store, served, device, ended), name="heartbeat", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _beat(
    settings: Settings, store: SupervisorStore, served: ServedDevice, device: Device, ended: threading.Event
) -> None:
    others = RollCall(store, settings.runtime_dir)
    while True:
        try:
            if not gpu_trouble(settings.runtime_dir, [device]):  # it takes no jobs, so nobody should count on it
                store.beat(served)
            if gone := others.gone():
                with closing(open_job_queue(settings)) as queue:
                    queue.add_missing(gone)
        except Exception as error:  # whatever it was, who gives no further sign is taken for gone
            known = isinstance(error, SQLAlchemyError)  # the database is away
            log.warning("no sign of life: %s", type(error).__name__, exc_info=None if known else error)
        if ended.wait(BEAT_S):
            return
