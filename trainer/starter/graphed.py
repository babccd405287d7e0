"""Training steps on a GPU as CUDA graphs: starting the kernels of so small a model takes longer than running them.

A step is recorded once for each shape of its batch, with its backward pass and the optimizer's update, and replayed
from then on with new numbers in the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from trainer.starter.batches import Batch

WARM_UPS = 3


class GraphedStepper:
    """Takes the steps of one model with an optimizer that is `capturable`; `batches_from(step)` gives its batches."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        rate_at: Callable[[int], float],
        batches_from: Callable[[int], Iterator[Batch]],
        loss_of: Callable[[Batch], torch.Tensor],
    ) -> None:
        self._model, self._optimizer, self._rate_at = model, optimizer, rate_at
        self._batches_from, self._loss_of = batches_from, loss_of
        self._device = next(model.parameters()).device
        self._rate = torch.zeros((), device=self._device)
        self._recorded: dict[tuple, _Recorded] = {}

    def start_at(self, step: int) -> None:
        self._taken, self._batches = step, self._batches_from(step)
        for group in self._optimizer.param_groups:  # a tensor, or it would be recorded as the number that it was
            group["lr"] = self._rate

    def helped_by(self, helpers: int) -> AbstractContextManager[None]:
        """Nobody helps a GPU."""
        return nullcontext()

    def step(self) -> tuple[int, torch.Tensor]:
        """Take one step; returns how many steps were taken in all, and the loss."""
        batch = next(self._batches)
        self._rate.fill_(self._rate_at(self._taken))
        shape = tuple(part.shape if isinstance(part, torch.Tensor) else part for part in batch)
        if shape not in self._recorded:
            self._recorded[shape] = _Recorded(self._update, _moved(batch, self._device))
        self._taken += 1
        return self._taken, self._recorded[shape].replay(batch)

    def _update(self, batch: Batch) -> torch.Tensor:
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0, foreach=True)
        self._optimizer.step()
        return loss.detach()


class _Recorded:
    """One recorded step and the memory that it reads and writes."""

    def __init__(self, update: Callable[[Batch], torch.Tensor], batch: Batch) -> None:
        self._batch = batch
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(
            aside
        ):  # real steps, all with this batch: libraries choose their kernels, the optimizer makes its state
            for _ in range(WARM_UPS):
                update(batch)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = update(batch)

    def replay(self, batch: Batch) -> torch.Tensor:
        for ours, new in zip(self._batch, batch, strict=True):
            if isinstance(ours, torch.Tensor) and isinstance(new, torch.Tensor):
                ours.copy_(new, non_blocking=True)
        self._graph.replay()
        return self._loss.clone()


def _moved(batch: Batch, device: torch.device) -> Batch:
    parts: Any = (part.to(device) if isinstance(part, torch.Tensor) else part for part in batch)
    return Batch(*parts)
