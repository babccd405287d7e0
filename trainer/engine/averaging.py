"""Exponential moving average of the trained weights, kept beside them and exported instead."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from trainer.engine.methods import ParameterGroup


class Average:
    """The average of all groups' parameters, or nothing at all where the recipe asks for none.

    It lies on their device, and changes places with them where it is wanted: whole models are too large to be copied.
    """

    def __init__(self, groups: list[ParameterGroup], decay: float | None) -> None:
        self._decay = decay or 0.0
        averaged = groups if decay is not None else []
        self._parameters: list[torch.Tensor] = [p for group in averaged for p in group.parameters]
        self._averages = [p.detach().clone() for p in self._parameters]
        self._updates = 0

    def update(self) -> None:
        self._updates += 1
        if self._averages:
            update = get_ema_multi_avg_fn(_decay_of(self._updates, self._decay))
            update(self._averages, self._parameters, self._updates)

    @contextmanager
    def in_place(self) -> Generator[None]:
        """The averaged weights in the model while the block runs; what it loads there becomes the average."""
        self._change_places()
        try:
            yield
        finally:
            self._change_places()

    def stay(self) -> None:
        """Leave the average in the model for good and let go of the raw weights: nothing is trained after this."""
        self._change_places()
        self._parameters, self._averages = [], []

    def _change_places(self) -> None:
        for number, parameter in enumerate(self._parameters):
            parameter.data, self._averages[number] = self._averages[number], parameter.data

    def tensors(self, weights: Callable[[], Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """The average under the names that `weights` gives to what is in the model; empty where there is none.

        It is no copy: the next update changes it.
        """
        if not self._averages:
            return {}
        with self.in_place():
            return {name: tensor.detach() for name, tensor in weights().items()}

    def restart(self, step: int) -> None:
        """Count on from this step, whose average was loaded while it was in place."""
        self._updates = step


def _decay_of(update: int, highest: float) -> float:
    """How much of the average is kept in an update, which are counted from 1.

    The first takes the weights as they are; t updates later it is (1 + t) / (10 + t), until that is `highest`: the rule
    of TensorFlow's ExponentialMovingAverage, counted as diffusers' EMAModel counts.
    """
    later = update - 1
    return min(highest, (1 + later) / (10 + later)) if later > 0 else 0.0
