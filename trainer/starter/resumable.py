"""One resumable training loop for both parts of the starter, alone or with helpers on other cores."""

from __future__ import annotations

import contextlib
import logging
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from trainer.starter import savepoint

log = logging.getLogger(__name__)
Loss = Callable[[int], tuple[torch.Tensor, torch.Tensor]]
HELPERS_NICENESS = 19


@dataclass(frozen=True)
class Pace:
    """How long, how often the state is kept, and by how many processes."""

    steps: int
    save_every: int
    workers: int = 1


class Optimizer(Protocol):
    """What updates the weights; torch's own optimizers are such."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...

    def step(self) -> Any: ...

    def zero_grad(self) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> None: ...


class Steps(Protocol):
    """What takes the steps of a training."""

    def start_at(self, step: int) -> None: ...

    def step(self) -> tuple[int, torch.Tensor]:
        """Take one step; returns how many steps were taken in all, and the number to log."""
        ...

    def helped_by(self, helpers: int) -> contextlib.AbstractContextManager[None]: ...


class Stepper:
    """Makes steps of one model; helpers make steps of the same one, in memory that the processes share.

    Each step's number is taken by one process only. Nobody waits for anybody (Hogwild!, Niu et al. 2011, arXiv
    1106.5730): a gradient is at most a few steps old, and a core that is lent to something else holds up no other.
    `loss_at(step)` gives what is minimized and the number that is logged; both depend on the step and the model only.
    """

    def __init__(
        self, model: torch.nn.Module, optimizer: Optimizer, rate_at: Callable[[int], float], loss_at: Loss
    ) -> None:
        self._model, self._optimizer, self._rate_at, self._loss_at = model, optimizer, rate_at, loss_at
        self._taken = multiprocessing.get_context("fork").Value("q", 0)

    def start_at(self, step: int) -> None:
        self._taken.value = step

    def step(self) -> tuple[int, torch.Tensor]:
        """Take one step; returns how many steps were taken in all, and the number to log."""
        with self._taken.get_lock():
            step = self._taken.value
            self._taken.value += 1
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate_at(step)
        loss, number = self._loss_at(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return step + 1, number

    @contextlib.contextmanager
    def helped_by(self, helpers: int) -> Iterator[None]:
        """While entered, `helpers` more processes take steps, whenever their cores have nothing better to do."""
        if helpers:
            self._model.share_memory()
        context = multiprocessing.get_context("fork")  # the pictures are in memory already; nothing is copied
        started = [context.Process(target=self._help, args=(os.getpid(),), daemon=True) for _ in range(helpers)]
        for process in started:
            process.start()
        try:
            yield
        finally:
            for process in started:
                process.kill()
                process.join()

    def _help(self, leader: int) -> None:
        os.nice(HELPERS_NICENESS)
        while os.getppid() == leader:
            self.step()


def train_resumably(
    model: torch.nn.Module,
    optimizer: Optimizer,
    average: savepoint.Average,
    path: Path,
    pace: Pace,
    stepper: Steps,
) -> None:
    """Train to `pace.steps`, going on from `path` if it exists; leaves the averaged weights in `model`.

    The learning curve is kept beside `path`, as rows of step and mean number since the row before. Raises
    FloatingPointError where that is not finite; the savepoint before it stays.
    """
    step = 0
    if state := savepoint.load(path):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.load(state["average"])
        step = state["step"]
    started, first, logged, saved = time.monotonic(), step, [], step // pace.save_every
    stepper.start_at(step)
    with stepper.helped_by(pace.workers - 1 if step < pace.steps else 0):
        while step < pace.steps:
            step, number = stepper.step()
            average.update(model, step)
            logged.append(number)
            if step // pace.save_every > saved or step >= pace.steps:
                saved = step // pace.save_every
                loss, logged = torch.stack(logged).mean().item(), []
                if not math.isfinite(loss):
                    raise FloatingPointError(f"{path.stem}: lost between its last savepoint and step {step}")
                speed = (step - first) / (time.monotonic() - started)
                log.info("%s step %d of %d: %.4f, %.2f steps/s", path.stem, step, pace.steps, loss, speed)
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.values}
                savepoint.save(path, {**state, "step": step})
                with path.with_suffix(".curve.csv").open("a") as curve:
                    curve.write(f"{step},{loss:.4f}\n")
    average.put_into(model)
