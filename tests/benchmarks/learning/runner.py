"""Works through the cells of a run in processes of one thread each, and says how far it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import torch

from tests.benchmarks.learning.cells import Bench, run_cell
from tests.benchmarks.learning.plan import Cell

log = logging.getLogger(__name__)


def run_phases(bench: Bench, phases: list[list[Cell]], *, workers: int) -> int:
    """Run every cell that is not finished yet, phase after phase; returns how many failed.

    A cell that fails is said and left open, so that the next start tries it again. With 0 workers cells run here.
    """
    distinct = [list({cell.key: cell for cell in phase}.values()) for phase in phases]
    waiting = [bench.ledger.open_cells(phase) for phase in distinct]
    total, done, failed = sum(map(len, waiting)), 0, 0
    log.info("%d cells to do, %d finished before", total, sum(map(len, distinct)) - total)
    began = time.monotonic()
    for cells in waiting:
        for cell, error in _finished(bench, cells, workers):
            done += 1
            failed += error is not None
            if error is not None:
                log.error("%s failed: %s", cell.key, error)
            left_min = (time.monotonic() - began) / done * (total - done) / 60
            log.info("%d of %d: %s; about %.0f minutes left", done, total, cell.key, left_min)
    return failed


def _finished(bench: Bench, cells: list[Cell], workers: int) -> Iterator[tuple[Cell, BaseException | None]]:
    """Each cell as it ends, with what went wrong."""
    if torch.cuda.is_available():
        workers = min(workers, 1)  # two on one GPU would each be slower for the other
    if workers == 0:
        for cell in cells:
            yield cell, _error_of(bench, cell)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        running: dict[Future[None], Cell] = {pool.submit(run_cell, bench, cell): cell for cell in cells}
        for future in as_completed(running):
            yield running[future], future.exception()


def _error_of(bench: Bench, cell: Cell) -> BaseException | None:
    try:
        run_cell(bench, cell)
    except Exception as error:  # noqa: BLE001 - one cell's failure must not end the others
        return error
    return None


def _one_thread() -> None:
    torch.set_num_threads(1)
