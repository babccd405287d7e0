"""Exponential moving average of the trained weights (diffusers' EMAModel), kept beside them and exported instead."""

from __future__ import annotations

from collections.abc import Generator
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

    def tensors(self) -> dict[str, torch.Tensor]:
        """The average by position, for a checkpoint; empty where there is none."""
        return {} if self._model is None else {str(i): t for i, t in enumerate(self._model.shadow_params)}

    def load(self, tensors: dict[str, torch.Tensor], step: int) -> None:
        """Go on from a checkpoint of this step."""
        if self._model is None:
            return
        for number, shadow in enumerate(self._model.shadow_params):
            shadow.copy_(tensors[str(number)])
        self._model.optimization_step = step
