"""One resumable training loop for both parts of the starter."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from trainer.starter import savepoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How long, and how often the state is kept."""

    steps: int
    save_every: int


def train_resumably(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    average: savepoint.Average,
    path: Path,
    pace: Pace,
    *,
    rate_at: Callable[[int], float],
    loss_at: Callable[[int], tuple[torch.Tensor, float]],
) -> None:
    """Train to `pace.steps`, going on from `path` if it exists; leaves the averaged weights in `model`.

    `loss_at(step)` gives what is minimized and the number that is logged; both depend on the step and the model only.
    """
    step = 0
    if state := savepoint.load(path):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.values, step = state["average"], state["step"]
    started, first, logged = time.monotonic(), step, []
    while step < pace.steps:
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step)
        loss, number = loss_at(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        average.update(model, step)
        logged.append(number)
        if step % pace.save_every == 0 or step == pace.steps:
            speed = (step - first) / (time.monotonic() - started)
            log.info("%s step %d of %d: %.4f, %.2f steps/s", path.stem, step, pace.steps, np.mean(logged), speed)
            logged = []
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.values}
            savepoint.save(path, {**state, "step": step})
    average.put_into(model)
