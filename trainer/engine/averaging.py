"""Exponential moving average of the trained weights (diffusers' EMAModel), kept beside them and exported instead."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import torch
from diffusers.training_utils import EMAModel

from trainer.engine.methods import ParameterGroup


class Average:
    """The average of all groups' parameters, or nothing at all where the recipe asks for none."""

    def __init__(self, groups: list[ParameterGroup], decay: float | None) -> None:
        self._parameters = [p for group in groups for p in group.parameters]
        self._model = EMAModel(self._parameters, decay=decay) if decay is not None else None

    def update(self) -> None:
        if self._model is not None:
            self._model.step(self._parameters)

    @contextmanager
    def in_place(self) -> Generator[None]:
        """The averaged weights in the model while the block runs."""
        if self._model is None:
            yield
            return
        self._model.store(self._parameters)
        self._model.copy_to(self._parameters)
        try:
            yield
        finally:
            self._model.restore(self._parameters)

    def tensors(self, weights: Callable[[], Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """The average under the names that `weights` gives to what is in the model; empty where there is none."""
        if self._model is None:
            return {}
        with self.in_place():
            return {name: tensor.detach().cpu().clone() for name, tensor in weights().items()}

    def restart(self, step: int) -> None:
        """Go on from this step with the weights that are in the model now as the average."""
        if self._model is None:
            return
        for shadow, parameter in zip(self._model.shadow_params, self._parameters, strict=True):
            shadow.copy_(parameter.detach())
        self._model.optimization_step = step
